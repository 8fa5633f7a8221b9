"""Pre-train by denoising a crystal in the light of the network's own embedding of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.ground.errors import UsageError
from atomprint.heads.equivariant import VectorHead
from atomprint.heads.head import mean_over_crystals
from atomprint.heads.model import ModelSettings
from atomprint.heads.target import Target
from atomprint.objectives.base import Objective, ObjectiveSettings, Sample, View
from atomprint.objectives.denoising import center
from atomprint.structures.graph import GraphBatch
from atomprint.structures.perturb import DISPLACEMENT, PerturbSettings

# Added to a step's seed: what hides elements is drawn from the seed itself.
_NOISE, _DROP = 1_000_003, 2_000_003


class ConditionedSettings(ObjectiveSettings):
    """Self-conditioned denoising: the clean crystal's embedding helps to denoise the noised one."""

    kind: Literal["conditioned"] = "conditioned"
    noise: float = Field(
        0.04,
        ge=0,
        description="standard deviation of the noise that is added to what the network saw, Å, "
        "for a second look; what it saw is then the clean crystal. 0: what it saw is the noised "
        "crystal (perturbation.rattle), and two more looks are taken, one with the displacements "
        "taken back",
    )
    drop: float = Field(
        0.2, ge=0, lt=1, description="part of the crystals that is denoised without the embedding"
    )

    def check(self, perturbation: PerturbSettings) -> None:
        """Refuse a perturbation that leaves nothing to predict."""
        if self.noise == 0 and perturbation.rattle == 0:
            raise ValueError(
                "conditioned has nothing to predict where its noise and perturbation.rattle are "
                "0; set one of them"
            )

    def build(self, backbone: Backbone, model: ModelSettings) -> "ConditionedObjective":
        """Make the objective with random heads."""
        return ConditionedObjective(self, backbone, model)


class ConditionedObjective(Objective):
    """Self-conditioned denoising, SCD (Perez & Gómez-Bombarelli 2026, arXiv 2603.17196).

    Denoising alone trains vectors, and one atom's surroundings at a time. Here the network looks
    twice. Of the clean crystal it makes an embedding, a vector of numbers that is invariant and
    one for the whole crystal; with it, it predicts the noise of the noised crystal. The better
    the embedding says which crystal it is, the better the noise can be told from it, so that the
    error trains the embedding, and gradients flow through both looks.

    As there:

    - one network takes both looks, the first without a condition;
    - the embedding comes of the scalars by norm, layer, SiLU, norm, then pooling, then norm,
      layer, SiLU, norm, layer;
    - it enters by adaptive layer norms, ``norm(x) (1 + scale) + shift`` in every layer;
    - of a part of the crystals (0.2) it is withheld in the second look;
    - Gaussian noise of 0.04 Å, predicted by an equivariant vector head, mean squared error. The
      first look's slight noise (0.005 Å in the authors' code) is ``perturbation.rattle``.

    Different here:

    - shift and scale are functions of the embedding alone; the authors' are of the embedding and
      the atom's own features, with a gate on the layer's output besides;
    - where the embedding is withheld, layer norms are the backbone's own; there a learned token
      takes its place. So a first look, and a fine-tuned network, is the plain backbone;
    - atoms are averaged, not added, so that a supercell has the embedding of its cell;
    - the mean of the noise over a crystal, which moves it as a whole, is not asked for;
    - the edges of both looks are those of one neighbour list: noise changes their lengths, not
      which there are. Elements' embeddings are trained; cells are not repeated at random, and no
      layers are dropped.

    Parameters
    ----------
    settings
        Of the objective.
    backbone
        The network; layer norms over its scalars take the condition.
    model
        Shape of the vector head.

    Raises
    ------
    UsageError
        If the backbone has no such layer norm.

    Attributes
    ----------
    spread
        Standard deviation of the noise, Å, which is the unit of the predictions.
    """

    settings: ConditionedSettings
    terms = ("noise",)
    looks_again = True
    spread: Tensor

    def __init__(
        self, settings: ConditionedSettings, backbone: Backbone, model: ModelSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        if settings.noise == 0:
            self.labels = (Target(name=DISPLACEMENT, per="atom", size=3),)
        n = backbone.n_channels
        self.norms = tuple(
            name
            for name, module in backbone.named_modules()
            if isinstance(module, nn.LayerNorm) and module.normalized_shape == (n,)
        )
        if not self.norms:
            raise UsageError(
                "conditioned: the backbone has no layer norm over its scalars for the embedding "
                "to enter by; take another backbone or objective"
            )
        self.before = nn.Sequential(nn.LayerNorm(n), nn.Linear(n, n), nn.SiLU(), nn.LayerNorm(n))
        self.after = nn.Sequential(
            nn.LayerNorm(n), nn.Linear(n, n), nn.SiLU(), nn.LayerNorm(n), nn.Linear(n, n)
        )
        self.condition = nn.LayerNorm(n)
        self.modulations = nn.ModuleList(
            nn.Sequential(nn.Linear(n, n), nn.SiLU(), nn.LayerNorm(n), nn.Linear(n, 2 * n))
            for _ in self.norms
        )
        self.head = VectorHead(n, model.n_hidden)
        self.register_buffer("spread", torch.tensor(settings.noise or 1.0))

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit the unit of the noise, where it is the displacement of the perturbed crystals."""
        if self.settings.noise == 0:
            moved = torch.cat([sample.labels[DISPLACEMENT] for sample in samples])
            self.spread.copy_(moved.square().mean().sqrt())

    def embed(self, features: AtomFeatures, graph: GraphBatch) -> Tensor:
        """Embedding of every crystal, ``(n_crystals, n_channels)``; invariant."""
        pooled = mean_over_crystals(self.before(features.scalars), graph)
        embedding: Tensor = self.after(pooled)
        return embedding

    def predict(self, view: View, clean: Tensor | None, noised: Tensor, kept: Tensor) -> Tensor:
        """What was added to every atom, in units of its spread, ``(n_atoms, 3)``.

        Parameters
        ----------
        view
            Of the step.
        clean
            Positions for the first look, Å, ``(n_atoms, 3)``; None: it is ``view.features``.
        noised
            Positions for the second look, likewise.
        kept
            Crystals whose embedding is not withheld, ``(n_crystals,)`` bool.
        """
        seen = view.graph.with_numbers(view.seen.numbers)
        first = view.features
        if clean is not None:
            first = view.backbone(seen.with_geometry(clean))
        condition = self.condition(self.embed(first, seen))
        share = kept[:, None].to(condition.dtype)
        changes = {
            name: (share * modulation(condition))[seen.crystal_index]
            for name, modulation in zip(self.norms, self.modulations, strict=True)
        }
        with modulated(view.backbone, changes):
            second = view.backbone(seen.with_geometry(noised))
        found: Tensor = self.head(second)
        return found

    def counts(self, view: View) -> dict[str, Tensor | int]:
        """Atoms."""
        return {"noise": view.graph.n_atoms}

    def losses(self, view: View) -> dict[str, Tensor]:
        """Mean square of what is left of the noise, in units of its spread."""
        graph = view.graph
        if self.settings.noise > 0:
            generator = torch.Generator().manual_seed(view.seed + _NOISE)
            drawn = torch.randn(view.place.n_atoms, 3, generator=generator)
            drawn = view.place.of_atoms(drawn.to(graph.device, graph.dtype))
            wanted = center(drawn, graph)
            clean, noised = None, graph.positions + self.spread * wanted
        else:
            wanted = center(view.labels[DISPLACEMENT], graph)
            clean, noised = graph.positions - wanted, graph.positions
            wanted = wanted / self.spread
        kept = torch.ones(graph.n_crystals, dtype=torch.bool)
        if self.training and self.settings.drop > 0:
            generator = torch.Generator().manual_seed(view.seed + _DROP)
            drawn = torch.rand(view.place.n_crystals, generator=generator)
            kept = view.place.of_crystals(drawn.to(graph.device)) >= self.settings.drop
        found = self.predict(view, clean, noised, kept.to(graph.device))
        return {"noise": nn.functional.mse_loss(found, wanted)}


@contextmanager
def modulated(backbone: nn.Module, changes: dict[str, Tensor]) -> Iterator[None]:
    """Let layer norms of a backbone return ``norm(x) (1 + scale) + shift`` for a while.

    Parameters
    ----------
    backbone
        The network.
    changes
        By name of the layer norm: scale and shift of every atom side by side,
        ``(n_atoms, 2 n_channels)``.
    """
    with ExitStack() as stack:
        for name, change in changes.items():
            handle = backbone.get_submodule(name).register_forward_hook(_modulate(name, change))
            stack.callback(handle.remove)
        yield


def _modulate(name: str, change: Tensor) -> Callable[[nn.Module, object, Tensor], Tensor]:
    scale, shift = change.chunk(2, dim=-1)

    def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        if len(output) != len(scale):
            raise UsageError(
                f"conditioned: the backbone's layer norm {name!r} is not over atoms "
                f"({len(output)} rows, {len(scale)} atoms); take another objective"
            )
        return output * (1 + scale) + shift

    return hook
