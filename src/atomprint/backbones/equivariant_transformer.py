"""The equivariant transformer (ET) of TorchMD-Net (Thölke & De Fabritiis 2022, arXiv 2202.02541).

Written from the paper's formulas; agrees with the ``torchmd-net`` package once its weights are
loaded (:func:`load_torchmd_state`; the number is in docs/backbones.md).
"""

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.backbones.elements import ELEMENTS, ElementStart, element_embedding
from atomprint.ground.errors import DataError
from atomprint.ground.settings import Settings
from atomprint.nn.radial import ExpNormBasis, cosine_cutoff
from atomprint.nn.vectors import unit_vectors
from atomprint.structures.graph import GraphBatch, sum_by_index


class ETSettings(Settings):
    """Settings of the equivariant transformer; the defaults train on a laptop."""

    kind: Literal["et"] = "et"
    cutoff: float = Field(default=5.0, gt=0, description="range of one message, Å")
    n_channels: int = Field(
        default=64, ge=1, description="width of scalar and vector features; a multiple of n_heads"
    )
    n_layers: int = Field(default=3, ge=1, description="number of attention layers")
    n_heads: int = Field(default=4, ge=1, description="number of attention heads")
    n_radial: int = Field(
        default=32, ge=1, description="number of expnorm functions of the distance"
    )
    trainable_radial: bool = Field(
        default=True, description="whether centres and widths of the radial functions are learned"
    )
    neighbor_embedding: bool = Field(
        default=True,
        description="whether an atom's first features also hold its neighbours' elements",
    )
    vector_cutoff: bool = Field(
        default=True,
        description=(
            "whether messages to the vectors fade to zero at the cutoff; torchmd-net's default, "
            "false, lets forces jump there"
        ),
    )
    elements: ElementStart = Field(default="random", description=ELEMENTS)

    @model_validator(mode="after")
    def _heads_divide_channels(self) -> Self:
        if self.n_channels % self.n_heads:
            raise ValueError(
                f"n_channels ({self.n_channels}) must be a multiple of n_heads ({self.n_heads})"
            )
        return self

    @classmethod
    def published(cls) -> "ETSettings":
        """Return the settings of the paper on fingerprint pre-training (arXiv 2503.01227).

        128 channels, 8 layers, 8 heads, 50 trainable radial functions, cutoff 8 Å; what is not
        said there is torchmd-net's default. 1.6 million parameters.
        """
        return cls(
            cutoff=8.0, n_channels=128, n_layers=8, n_heads=8, n_radial=50, vector_cutoff=False
        )

    def build(self) -> "EquivariantTransformer":
        """Make the network, with random weights."""
        return EquivariantTransformer(self)


class EquivariantTransformer(Backbone):
    """ET: attention over neighbours, weighed by filters of the distance, with vector features.

    Differs from torchmd-net's ``TorchMD_ET`` in speed and size, not in what it computes:

    - Every periodic image of a neighbour below the cutoff counts, with no cap on their number
      and no limit on the cell; torchmd-net sees the nearest image only, so the two agree where
      the cell is more than two cutoffs high.
    - All images of a neighbour carry the same features, so filters are summed over images before
      they meet features, and the large vector messages are per distinct (centre, neighbour) pair.
    - An atom also attends to itself at distance zero, as there (``loop=True``); this needs one
      row of filters instead of one a atom.
    - Before the first layer all vectors are zero, so the first layer has no weights that act on
      them; torchmd-net keeps such weights, whose gradients are always zero.
    """

    def __init__(self, settings: ETSettings) -> None:
        super().__init__()
        self.settings = settings
        self.cutoff = settings.cutoff
        self.n_channels = settings.n_channels
        if not settings.vector_cutoff:
            self.exempt = {
                "smooth": "vector_cutoff=false, torchmd-net's default: once the filters have a "
                "bias, messages to the vectors jump at the cutoff"
            }
        self.radial = ExpNormBasis(settings.n_radial, settings.cutoff, settings.trainable_radial)
        self.embedding = element_embedding(settings.elements, settings.n_channels)
        self.neighborhood = Neighborhood(settings) if settings.neighbor_embedding else None
        self.layers = nn.ModuleList(
            Attention(settings, first=index == 0) for index in range(settings.n_layers)
        )
        self.norm = nn.LayerNorm(settings.n_channels)

    def forward(self, graph: GraphBatch) -> AtomFeatures:
        """Features of every atom; scalars pass a last layer norm, vectors do not."""
        edges = Edges(graph.within(self.cutoff), self.radial)
        scalars = self.embedding(graph.numbers)
        if self.neighborhood is not None:
            scalars = self.neighborhood(scalars, graph.numbers, edges)
        vectors = scalars.new_zeros((graph.n_atoms, 3, self.n_channels))
        layers = []
        for layer in self.layers:
            to_scalars, to_vectors = layer(scalars, vectors, edges)
            scalars, vectors = scalars + to_scalars, vectors + to_vectors
            layers.append(scalars)
        scalars = self.norm(scalars)
        return AtomFeatures(scalars, vectors, (*layers[:-1], scalars))


class Edges:
    """What every layer asks of the graph, computed once.

    Attributes
    ----------
    basis
        Radial functions, ``(n_edges, n_radial)``.
    self_basis
        The same at distance zero, ``(1, n_radial)``.
    cutoff
        The cosine cutoff of every edge, ``(n_edges, 1)``.
    direction
        Unit vectors from the centre to the neighbour, ``(n_edges, 3)``.
    pair_index
        The pair that each edge belongs to, ``(n_edges,)``.
    pair_center, pair_neighbor
        Atoms of each pair, ``(n_pairs,)``.
    """

    def __init__(self, graph: GraphBatch, radial: ExpNormBasis) -> None:
        distances = graph.distances
        self.n_atoms = graph.n_atoms
        self.basis = radial(distances)
        self.self_basis = radial(distances.new_zeros(1))
        self.cutoff = cosine_cutoff(distances, radial.cutoff)[:, None]
        self.direction = unit_vectors(graph.edge_vectors)
        self.pair_index, self.pair_center, self.pair_neighbor = graph.pairs

    def sum_images(self, values: Tensor) -> Tensor:
        """Sum values of edges ``(n_edges, ...)`` over images: ``(n_pairs, ...)``."""
        return sum_by_index(values, self.pair_index, len(self.pair_center))

    def sum_neighbors(self, values: Tensor) -> Tensor:
        """Sum values of pairs ``(n_pairs, ...)`` over neighbours: ``(n_atoms, ...)``."""
        return sum_by_index(values, self.pair_center, self.n_atoms)


class Neighborhood(nn.Module):
    """Mix the elements of the neighbours into an atom's first features (eqs. 3 and 4)."""

    def __init__(self, settings: ETSettings) -> None:
        super().__init__()
        n = settings.n_channels
        self.embedding = element_embedding(settings.elements, n)
        self.filter = _linear(settings.n_radial, n)
        self.combine = _linear(2 * n, n)

    def forward(self, scalars: Tensor, numbers: Tensor, edges: Edges) -> Tensor:
        """Features ``(n_atoms, n_channels)`` of own and neighbours' elements."""
        filters = edges.sum_images(self.filter(edges.basis) * edges.cutoff)
        messages = filters * self.embedding(numbers)[edges.pair_neighbor]
        both = torch.cat([scalars, edges.sum_neighbors(messages)], dim=-1)
        mixed: Tensor = self.combine(both)
        return mixed


class Attention(nn.Module):
    """One update layer: attention whose keys and values are filtered by distance (eqs. 6 to 11).

    The weight of a neighbour is SiLU of the product of query, key and filter, times the cutoff:
    no softmax, so that a neighbour at the cutoff is no neighbour.
    """

    def __init__(self, settings: ETSettings, first: bool) -> None:
        super().__init__()
        n = settings.n_channels
        self.first = first
        self.heads = (settings.n_heads, n // settings.n_heads)
        self.vector_cutoff = settings.vector_cutoff
        self.norm = nn.LayerNorm(n)
        self.query, self.key, self.value = _linear(n, n), _linear(n, n), _linear(n, 3 * n)
        self.key_filter = _linear(settings.n_radial, n)
        self.value_filter = _linear(settings.n_radial, 3 * n)
        # Vectors are zero before the first layer: weights that act on them would be dead.
        self.mix = None if first else _linear(n, 3 * n, bias=False)
        self.out = _linear(n, n if first else 3 * n)

    def forward(self, scalars: Tensor, vectors: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """Changes of the scalars ``(n_atoms, n)`` and of the vectors ``(n_atoms, 3, n)``."""
        center, neighbor = edges.pair_center, edges.pair_neighbor
        normed = self.norm(scalars)
        query, key, value = self.query(normed), self.key(normed), self.value(normed)

        # Filters and attention of edges, folded over the images of a neighbour.
        affinity = (query[center] * key[neighbor])[edges.pair_index]
        weights = self._weights(affinity, edges.basis) * edges.cutoff
        to_scalar, along, toward = self._value_filters(edges.basis)
        if self.vector_cutoff:
            along, toward = along * edges.cutoff, toward * edges.cutoff
        to_scalar = edges.sum_images(self._by_head(to_scalar, weights))
        along = edges.sum_images(along)
        toward = edges.sum_images(toward[:, None, :] * edges.direction[:, :, None])

        # Messages of pairs, summed over neighbours.
        value_scalar, value_along, value_toward = value.chunk(3, dim=-1)
        message = edges.sum_neighbors(to_scalar * value_scalar[neighbor])
        vector_message = toward * value_toward[neighbor, None, :]
        if not self.first:
            carried = (along * value_along[neighbor])[:, None, :] * vectors[neighbor]
            vector_message = vector_message + carried
        to_vectors = edges.sum_neighbors(vector_message)

        # An atom attends to itself too, at distance zero, where there is no direction.
        self_weights = self._weights(query * key, edges.self_basis)
        self_scalar, self_along, _ = self._value_filters(edges.self_basis)
        message = message + self._by_head(self_scalar * value_scalar, self_weights)
        if self.mix is None:
            return self.out(message), to_vectors
        to_vectors = to_vectors + (self_along * value_along)[:, None, :] * vectors

        gate_vectors, gate_inner, to_scalars = self.out(message).chunk(3, dim=-1)
        left, right, kept = self.mix(vectors).chunk(3, dim=-1)
        to_scalars = to_scalars + gate_inner * (left * right).sum(dim=1)
        return to_scalars, to_vectors + gate_vectors[:, None, :] * kept

    def _weights(self, affinity: Tensor, basis: Tensor) -> Tensor:
        """Attention before the cutoff, ``(n_rows, n_heads)``."""
        product = affinity * functional.silu(self.key_filter(basis))
        return functional.silu(product.view(len(product), *self.heads).sum(dim=-1))

    def _value_filters(self, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Filters of messages to scalars, along neighbours' vectors and towards neighbours."""
        filters = functional.silu(self.value_filter(basis))
        to_scalar, along, toward = filters.chunk(3, dim=-1)
        return to_scalar, along, toward

    def _by_head(self, values: Tensor, weights: Tensor) -> Tensor:
        """Multiply the channels ``(n_rows, n_channels)`` of each head by the head's weight."""
        by_head = values.view(len(values), *self.heads) * weights[..., None]
        return by_head.view(values.shape)


def _linear(n_in: int, n_out: int, bias: bool = True) -> nn.Linear:
    """Make a linear map with the paper's initialisation: Glorot weights, biases zero."""
    linear = nn.Linear(n_in, n_out, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def load_torchmd_state(backbone: EquivariantTransformer, state: Mapping[str, Tensor]) -> list[str]:
    """Load the weights of a torchmd-net ``TorchMD_ET``, in place.

    Parameters
    ----------
    backbone
        A network with the same settings; ``vector_cutoff`` is false in torchmd-net unless said.
    state
        The state dict of a ``TorchMD_ET``, of a ``TorchMD_Net`` around it or of a training
        checkpoint (``checkpoint["state_dict"]``). Published ones embed elements
        up to their ``max_z`` only: rows of heavier elements keep what they had.

    Returns
    -------
    list of str
        Entries that belong to other parts (the head, a prior) and were not used, sorted.

    Raises
    ------
    DataError
        If an entry is missing, or has a shape that does not belong to the backbone's settings.
    """
    found = [name for name in state if name.endswith("out_norm.weight")]
    if len(found) != 1:
        raise DataError("these are not the weights of a torchmd-net TorchMD_ET: no out_norm.weight")
    prefix = found[0].removesuffix("out_norm.weight")
    theirs = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    settings = backbone.settings
    own = backbone.state_dict()
    names = _torchmd_names(settings)
    for mine, name in names.items():
        if name not in theirs:
            raise DataError(f"the torchmd-net weights have no {prefix}{name}; other settings?")
        weight = theirs[name].detach()
        if ".value." in mine or ".value_filter." in mine:
            weight = _parts_outside_heads(weight, settings.n_heads)
        if mine.startswith("layers.0.out."):
            # Their first layer also gates vectors that are zero: only the last third acts.
            weight = weight[-settings.n_channels :]
        if mine.endswith("embedding.weight") and weight.shape[1:] == own[mine].shape[1:]:
            rows = min(len(weight), len(own[mine]))
            weight = torch.cat([weight[:rows].to(own[mine]), own[mine][rows:]])
        if weight.shape != own[mine].shape:
            raise DataError(
                f"the torchmd-net weights {prefix}{name} have shape {tuple(weight.shape)} and the "
                f"backbone {tuple(own[mine].shape)}; other settings?"
            )
        own[mine] = weight
    n_theirs = sum(name.endswith(".q_proj.weight") for name in theirs)
    if n_theirs != settings.n_layers:
        raise DataError(
            f"the torchmd-net weights have {n_theirs} layers and the backbone {settings.n_layers}"
        )
    backbone.load_state_dict(own)
    used = {prefix + name for name in names.values()}
    # Theirs also has weights on the vectors before the first layer, which are zero.
    used.add(f"{prefix}attention_layers.0.vec_proj.weight")
    return sorted(set(state) - used)


def _torchmd_names(settings: ETSettings) -> dict[str, str]:
    """Our names of parameters and buffers -> those of torchmd-net."""
    names = {
        "embedding.weight": "embedding.weight",
        "radial.means": "distance_expansion.means",
        "radial.betas": "distance_expansion.betas",
        "norm.weight": "out_norm.weight",
        "norm.bias": "out_norm.bias",
    }
    if settings.neighbor_embedding:
        names["neighborhood.embedding.weight"] = "neighbor_embedding.embedding.weight"
        for part in ("weight", "bias"):
            names[f"neighborhood.filter.{part}"] = f"neighbor_embedding.distance_proj.{part}"
            names[f"neighborhood.combine.{part}"] = f"neighbor_embedding.combine.{part}"
    modules = {
        "norm": "layernorm",
        "query": "q_proj",
        "key": "k_proj",
        "value": "v_proj",
        "key_filter": "dk_proj",
        "value_filter": "dv_proj",
        "out": "o_proj",
    }
    for index in range(settings.n_layers):
        mine, theirs = f"layers.{index}", f"attention_layers.{index}"
        for module, name in modules.items():
            for part in ("weight", "bias"):
                names[f"{mine}.{module}.{part}"] = f"{theirs}.{name}.{part}"
        if index > 0:
            names[f"{mine}.mix.weight"] = f"{theirs}.vec_proj.weight"
    return names


def _parts_outside_heads(weight: Tensor, n_heads: int) -> Tensor:
    """Rows ordered (head, part, channel of the head) -> (part, head, channel of the head)."""
    if len(weight) % (3 * n_heads):
        return weight  # the shape is refused by the caller
    in_heads = weight.view(n_heads, 3, -1, *weight.shape[1:])
    return in_heads.transpose(0, 1).reshape(weight.shape)
