"""What the many-body tensor representations share: grids, weights, species, and angles in parts."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from atomprint.fingerprints.base import FingerprintSpec
from atomprint.fingerprints.channels import SHORT_NAMES, ChannelName, channel_table
from atomprint.ground import elements
from atomprint.ground.errors import UsageError
from atomprint.structures.graph import GraphBatch, sum_by_index

Geometry = Literal["atomic_number", "distance", "inverse_distance", "angle", "cosine"]
Weighting = Literal["exp", "inverse_square", "smooth_cutoff"]

ORDERS: dict[Geometry, int] = {
    "atomic_number": 1,
    "distance": 2,
    "inverse_distance": 2,
    "angle": 3,
    "cosine": 3,
}
"""How many atoms a geometry function is of, k."""

Deposit = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From two edges of every term (indices), its value and its weight, ``(m,)`` each, to sums."""

# A part of the work makes at most this many numbers at a time, a few copies of 32 MB in float64.
_PART = 2**22


def sorted_symbols(given: Any) -> Any:
    """Symbols of elements by atomic number, so that one set of them has one id.

    Raises
    ------
    ValueError
        If something is neither a symbol nor an atomic number, or is given twice.
    """
    if not isinstance(given, list | tuple):
        return given
    numbers = set()
    for one in given:
        number = elements.atomic_number.get(one) if isinstance(one, str) else one
        if not isinstance(number, int) or not 0 < number <= elements.MAX_Z:
            raise ValueError(f"{one!r} is no element; give symbols or atomic numbers")
        if number in numbers:
            raise ValueError(f"{elements.symbols[number]} is given twice; give every element once")
        numbers.add(number)
    return tuple(elements.symbols[number] for number in sorted(numbers))


Species = Annotated[tuple[str, ...] | None, BeforeValidator(sorted_symbols)]
"""Elements that there can be, by symbols or atomic numbers."""


class ManyBodySettings(FingerprintSpec):
    """What the settings of MBTR and LMBTR have in common."""

    geometry: Geometry = Field(
        "distance",
        description="What is distributed. k = 1: atomic_number. k = 2, over pairs: distance (Å), "
        "inverse_distance (1/Å). k = 3, over angles: angle (degrees), cosine.",
    )
    grid_min: float | None = Field(
        None, description="First point of the grid; by default the least value there can be."
    )
    grid_max: float | None = Field(
        None,
        description="Last point of the grid; by default the largest value: the cutoff for "
        "distances, 1/Å for their inverse, 118 for atomic numbers.",
    )
    n_points: int = Field(50, description="Number of points on the grid.", ge=2)
    sigma: float | None = Field(
        None,
        description="Width of the Gaussians, in the unit of the geometry function; by default "
        "twice the distance of two grid points.",
        gt=0,
    )
    normalize_gaussians: bool = Field(
        True, description="Gaussians have area 1; otherwise height 1."
    )
    weighting: Weighting = Field(
        "exp",
        description="Of pairs and angles. exp: e^(-s x), x the distance or the perimeter of the "
        "triangle. inverse_square (k = 2): 1/r². smooth_cutoff (k = 3): f(r_ij) f(r_jk), smoothly "
        "to 0 at the cutoff. Not used for k = 1.",
    )
    cutoff: float = Field(6.0, description="Neighbours are closer than this, in Å.", gt=0)
    scale: float | None = Field(
        None,
        description="The s of exp in 1/Å, which then sets the cutoff, where the weight is the "
        "threshold; by default the cutoff sets s.",
        gt=0,
    )
    threshold: float = Field(
        1e-3, description="Terms whose weight by exp is smaller are left out.", gt=0, lt=1
    )
    sharpness: int = Field(2, description="The y of smooth_cutoff.", ge=1, le=32)
    species: Species = Field(
        None,
        description="All elements that there can be, by symbols or atomic numbers: a block of "
        "columns for every combination, as in dscribe. By default channels instead, whose width "
        "does not depend on the elements.",
        min_length=1,
    )
    channels: tuple[ChannelName, ...] = Field(
        ("one", "electronegativity", "covalent_radius"),
        description="Element channels w, used without species: a term counts the product of w "
        "over its atoms.",
        min_length=1,
    )
    scale_channels: bool = Field(
        True, description="Divide every channel by its scale, so that it is of order 1."
    )

    @property
    def order(self) -> int:
        """How many atoms a term has, k."""
        return ORDERS[self.geometry]

    @property
    def reach(self) -> float:
        """Largest distance of neighbours in Å."""
        if self.order > 1 and self.weighting == "exp" and self.scale is not None:
            # A triangle with two long sides has twice the cutoff as its perimeter.
            return -math.log(self.threshold) / self.scale / (self.order - 1)
        return self.cutoff

    @property
    def grid(self) -> tuple[float, float]:
        """First and last point of the grid."""
        least = {"atomic_number": 1.0, "cosine": -1.0}.get(self.geometry, 0.0)
        most = {"distance": self.reach, "inverse_distance": 1.0, "angle": 180.0, "cosine": 1.0}
        low = least if self.grid_min is None else self.grid_min
        high = most.get(self.geometry, 118.0) if self.grid_max is None else self.grid_max
        return low, high

    def unit(self, over_density: bool = False) -> str:
        """Unit of a column; ``over_density``: multiplied by a volume."""
        powers = {"Å": 3 if over_density else 0, "deg": 0}
        if self.normalize_gaussians:
            powers["Å"] -= {"distance": 1, "inverse_distance": -1}.get(self.geometry, 0)
            powers["deg"] -= int(self.geometry == "angle")
        if self.order == 2 and self.weighting == "inverse_square":
            powers["Å"] -= 2
        up = [name if n == 1 else f"{name}^{n}" for name, n in powers.items() if n > 0]
        down = [name if n == -1 else f"{name}^{-n}" for name, n in powers.items() if n < 0]
        return "/".join([" ".join(up) or "1", *down])

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.grid[0] >= self.grid[1]:
            raise ValueError("grid_min must be below grid_max")
        wrong = {2: "smooth_cutoff", 3: "inverse_square"}.get(self.order)
        if self.weighting == wrong:
            raise ValueError(
                f"weighting {wrong} is not for {self.geometry}; use exp or "
                + {2: "inverse_square", 3: "smooth_cutoff"}[self.order]
            )
        return self


class Grid:
    """Deposits of Gaussians on a grid, in many slots.

    A point gets the part of the Gaussian within half a spacing of it, divided by the spacing.

    Parameters
    ----------
    settings
        Where the grid is, and how wide the Gaussians are.
    """

    def __init__(self, settings: ManyBodySettings) -> None:
        low, high = settings.grid
        self.n = settings.n_points
        self.step = (high - low) / (self.n - 1)
        self.sigma = settings.sigma if settings.sigma is not None else 2 * self.step
        self.start = low - 0.5 * self.step
        area = 1.0 if settings.normalize_gaussians else math.sqrt(2 * math.pi) * self.sigma
        self.factor = area / self.step

    def deposit(self, slot: Tensor, values: Tensor, weights: Tensor, n_slots: int) -> Tensor:
        """Sum Gaussians at values ``(m,)`` times weights ``(m, w)`` in slots ``(m,)``.

        Returns
        -------
        Tensor
            ``(n_slots, w, n_points)``.
        """
        edges = self.start + self.step * torch.arange(self.n + 1).to(values)
        below = 0.5 * torch.erf((edges - values[:, None]) / (math.sqrt(2) * self.sigma))
        share = (below[:, 1:] - below[:, :-1]) * self.factor
        # One channel at a time: all at once would take as many times the memory.
        sums = [sum_by_index(w[:, None] * share, slot, n_slots) for w in weights.unbind(1)]
        return torch.stack(sums, dim=1)


class Kinds:
    """Elements of the atoms of a term: the block of columns it belongs to, and its weights.

    With a list of species, every combination of them has a block and all weights are 1; without,
    all terms share a block and weights are products of element channels.
    """

    def __init__(self, settings: ManyBodySettings) -> None:
        given = settings.species
        self.species = None if given is None else [elements.atomic_number[name] for name in given]
        self.index = torch.full((elements.MAX_Z + 1,), -1)
        for k, number in enumerate(self.species or ()):
            self.index[number] = k
        if self.species is None:
            self.table = channel_table(settings.channels, settings.scale_channels)
            self.names = [SHORT_NAMES[name] for name in settings.channels]
        else:
            self.table = torch.ones((elements.MAX_Z + 1, 1), dtype=torch.float64)
            self.names = [elements.symbols[number] for number in self.species]

    @property
    def n(self) -> int:
        """Number of species; 1 without a list of them."""
        return 1 if self.species is None else len(self.species)

    def of_atoms(self, graph: GraphBatch, kind: str) -> Tensor:
        """Index of every atom's species, ``(n_atoms,)``; zeros without a list of species.

        Raises
        ------
        UsageError
            If an atom's element is not among the species.
        """
        if self.species is None:
            return torch.zeros_like(graph.numbers)
        found = self.index.to(graph.device)[graph.numbers]
        if bool((found < 0).any()):
            symbol = elements.symbols[int(graph.numbers[found < 0][0])]
            raise UsageError(
                f"fingerprint {kind}: a crystal has {symbol}, which is not in species; add it, or "
                "use channels in place of species"
            )
        return found


def weigh_pairs(settings: ManyBodySettings, r: Tensor) -> Tensor:
    """Weight of pairs at distances ``(m,)``."""
    if settings.weighting == "exp":
        return torch.exp(r * (math.log(settings.threshold) / settings.reach))
    return r**-2


def sum_over_pairs(
    graph: GraphBatch, settings: ManyBodySettings, deposit: Deposit, out: Tensor
) -> Tensor:
    """Add to ``out`` what ``deposit(edges, edges, values, weights)`` makes of all edges."""
    size = max(1, _PART // settings.n_points)
    edges = torch.arange(graph.n_edges, device=graph.device)
    parts = ((part, part) for part in torch.split(edges, size))

    def part(u: Tensor, r: Tensor, edges: Tensor, _: Tensor) -> Tensor:
        value = r[edges] if settings.geometry == "distance" else 1 / r[edges]
        return deposit(edges, edges, value, weigh_pairs(settings, r[edges]))

    return _sum_parts(graph, part, parts, out)


def sum_over_angles(
    graph: GraphBatch, settings: ManyBodySettings, deposit: Deposit, out: Tensor
) -> Tensor:
    """Add to ``out`` what ``deposit(first, second, values, weights)`` makes of all angles.

    Parameters
    ----------
    graph
        With edges within the reach of the settings.
    settings
        Geometry function and weighting.
    deposit
        Of the two edges of every angle (indices, ``(m,)`` each), its value and its weight.
    out
        To add to, of the shape that ``deposit`` makes.
    """

    def part(u: Tensor, r: Tensor, first: Tensor, second: Tensor) -> Tensor:
        a, b, r_a, r_b = u[first], u[second], r[first], r[second]
        along = (a * b).sum(-1)
        if settings.weighting == "exp":
            perimeter = r_a + r_b + torch.linalg.vector_norm(a - b, dim=-1)
            weight = torch.exp(perimeter * (0.5 * math.log(settings.threshold) / settings.reach))
            weight = torch.where(weight >= settings.threshold, weight, torch.zeros_like(weight))
        else:
            weight = _smooth_cutoff(r_a, settings) * _smooth_cutoff(r_b, settings)
        if settings.geometry == "angle":
            # An arc cosine would lose half of the digits of straight angles, which are common. A
            # perfectly straight one has no gradient.
            across = torch.linalg.cross(a, b).square().sum(-1)
            bent = across > 0
            length = torch.where(bent, across, torch.ones_like(across)).sqrt()
            value = torch.atan2(torch.where(bent, length, torch.zeros_like(length)), along)
            value = value * (180 / math.pi)
        else:
            value = along / (r_a * r_b)
        return deposit(first, second, value, weight)

    parts = _parts_of_angles(graph, max(1, _PART // settings.n_points))
    return _sum_parts(graph, part, parts, out)


def _sum_parts(
    graph: GraphBatch,
    part: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    parts: Iterable[tuple[Tensor, Tensor]],
    out: Tensor,
) -> Tensor:
    """Sum parts of bounded memory; for gradients a part is made again rather than kept."""
    vectors, distances = graph.edge_vectors, graph.distances
    again = torch.is_grad_enabled() and vectors.requires_grad
    for first, second in parts:
        if again:
            out = out + checkpoint(part, vectors, distances, first, second, use_reentrant=False)
        else:
            out += part(vectors, distances, first, second)
    return out


def of_unit_length(rows: Tensor) -> Tensor:
    """Rows divided by their length; zeros stay zeros, with a gradient."""
    squared = rows.square().sum(1, keepdim=True)
    return rows / torch.where(squared > 0, squared, torch.ones_like(squared)).sqrt()


def _smooth_cutoff(r: Tensor, settings: ManyBodySettings) -> Tensor:
    """``1 + y x^(y+1) - (y+1) x^y``, x the distance in units of the cutoff.

    Written as ``(1 - x)² (1 + 2 x + ... + y x^(y-1))``, which near the cutoff keeps its digits.
    """
    x, y = r / settings.cutoff, settings.sharpness
    series = torch.ones_like(x) * y
    for k in range(y - 1, 0, -1):
        series = series * x + k
    return (1 - x).square() * series


def _parts_of_angles(graph: GraphBatch, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All unordered pairs of edges of one centre, at most about ``limit`` at a time."""
    counts = torch.bincount(graph.center_index, minlength=graph.n_atoms)
    end = torch.cumsum(counts, 0)[graph.center_index]
    edges = torch.arange(graph.n_edges, device=graph.device)
    partners = end - edges - 1
    done = torch.cumsum(partners, 0)
    total = int(done[-1]) if len(done) else 0
    part = (done - partners) // limit
    for k in range(int(part[-1]) + 1 if total else 0):
        mine = torch.nonzero(part == k).squeeze(-1)
        repeats = partners[mine]
        first = torch.repeat_interleave(mine, repeats)
        begin = torch.repeat_interleave(torch.cumsum(repeats, 0) - repeats, repeats)
        yield first, first + 1 + torch.arange(len(first), device=graph.device) - begin
