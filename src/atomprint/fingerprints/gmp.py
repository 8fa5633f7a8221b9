"""Gaussian multipoles: what probes of several widths and degrees see of the electron density."""

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from atomprint.fingerprints.base import Fingerprint, FingerprintSpec, unit_power
from atomprint.fingerprints.gmp_gaussians import OWN, load_gaussians
from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.sums import Chunks
from atomprint.ground.elements import symbols
from atomprint.ground.errors import UsageError
from atomprint.structures.graph import GraphBatch

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.base import FusedKernel

Order = Annotated[int, Field(ge=-1, le=4)]
Width = Annotated[float, Field(ge=0.05, le=5)]

_UNITS = ("e/Å^3", "e/Å^2", "e/Å", "e", "e Å")


class GMPSettings(FingerprintSpec):
    """Gaussian multipoles (Lei & Medford, J. Phys. Chem. Lett. 13, 7911, 2022)."""

    kind: Literal["gmp"] = "gmp"
    orders: tuple[Order, ...] = Field(
        (-1, 0, 1, 2, 3),
        description="Degrees l of the multipoles, a column per width each; -1 is the electron "
        "density at the atom itself, one column.",
        min_length=1,
    )
    sigmas: tuple[Width, ...] = Field(
        (0.25, 0.5, 0.75, 1.0, 1.5), description="Widths of the Gaussian probes, in Å."
    )
    square: bool = Field(
        False,
        description="Squares of the multipoles in place of their lengths μ; of the density, too.",
    )
    softening: float = Field(
        1e-8,
        description="s in √(μ² + s²) − s, which replaces the length μ, in the column's unit: a "
        "length has a kink where it vanishes, as it does by symmetry in many crystals. 0 leaves "
        "the kink, with the gradient 0 there.",
        ge=0,
    )
    gaussians: str = Field(
        OWN,
        description="Atoms' densities: atomprint for the project's own (H to No), or the path of "
        "a file in the .gpsp format of GMP-featurizer.",
        min_length=1,
    )
    gaussians_sha256: str | None = Field(
        None,
        description="Of that file; filled in when it is read, so that the numbers' id depends on "
        "what it holds. A file that holds something else is refused.",
    )
    cutoff: float | None = Field(
        8.0,
        description="Neighbours are closer than this, in Å; null takes the distance at which "
        "overlaps fall below overlap_threshold.",
        gt=0,
    )
    taper: float | None = Field(
        2.0,
        description="Over the last so many Å before the cutoff a neighbour's density goes smoothly "
        "to 0, as a cosine; null: it counts fully up to the cutoff.",
        gt=0,
    )
    overlap_threshold: float = Field(
        1e-11,
        description="Where cutoff is null: what an overlap of a probe with a Gaussian of an atom "
        "may be at the cutoff and beyond, in the column's unit.",
        gt=0,
        lt=1,
    )

    @model_validator(mode="before")
    @classmethod
    def _know_the_file(cls, values: Any) -> Any:
        """Note what the file holds; whether it can be read is for :meth:`build` to say."""
        path = values.get("gaussians", OWN) if isinstance(values, dict) else OWN
        if path == OWN or not isinstance(path, str) or not Path(path).is_file():
            return values
        found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        wanted = values.get("gaussians_sha256")
        if wanted not in (None, found):
            raise ValueError(
                f"gaussians: {path} is not the file that these settings were made with; its "
                "SHA-256 is another"
            )
        return values | {"gaussians_sha256": found}

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        """Columns must differ, and the taper must fit inside the cutoff."""
        for name, values in (("orders", self.orders), ("sigmas", self.sigmas)):
            if list(values) != sorted(set(values)):
                raise ValueError(f"{name} must ascend, each given once")
        if not self.sigmas and self.orders != (-1,):
            raise ValueError("without sigmas there is the order -1 only")
        if self.cutoff is not None and self.taper is not None and self.taper > self.cutoff:
            raise ValueError("taper must not be longer than the cutoff")
        return self

    def build(self) -> "GMP":
        """Make the fingerprint."""
        return GMP(self)


class GMP(Fingerprint):
    r"""Gaussian multipoles of the electron density of overlapping free atoms.

    The density :math:`ρ(r) = Σ_j f_c(r_ij) Σ_g B_g(Z_j) e^{-β_g(Z_j) |r - r_j|²}`, the centre atom
    included, is probed at every atom by Gaussians times solid harmonics of degree l,

    .. math::
        A_{lm} = \int \frac{e^{-r²/2σ²}}{(σ\sqrt{2π})^3} r^l Y_{lm}(\hat r) ρ(r) d³r, \quad
        μ_{lσ}² = (2l-1)!!\; l!\; \frac{4π}{2l+1} Σ_m A_{lm}²

    which is the sum over all Maxwell-Cartesian harmonics of that degree with their multinomial
    weights (Lei & Medford 2022). Columns: order -1 (ρ at the atom), then for every order a column
    per width.

    Parameters
    ----------
    settings
        See :class:`GMPSettings`.

    Attributes
    ----------
    gaussians
        The atoms' densities.
    blocks
        Degree and widths of every run of columns; width 0 is the density itself.

    Raises
    ------
    DataError
        If the file of Gaussians cannot be read.
    """

    size: Tensor
    decay: Tensor
    known: Tensor

    settings_class = GMPSettings
    settings: GMPSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        self.gaussians = load_gaussians(settings.gaussians)
        self.blocks = [
            (max(order, 0), settings.sigmas if order >= 0 else (0.0,)) for order in settings.orders
        ]
        self.cutoff = settings.cutoff or max(
            self.gaussians.reach(sigma, degree, settings.overlap_threshold)
            for degree, sigmas in self.blocks
            for sigma in sigmas
        )
        if settings.taper is None and settings.cutoff is not None:
            self.exempt = {"smooth": "without a taper, densities end at once at the cutoff"}
        self.l_max = max(degree for degree, _ in self.blocks)
        columns = [(degree, sigma) for degree, sigmas in self.blocks for sigma in sigmas]
        probed = [self.gaussians.probed(sigma, degree) for degree, sigma in columns]
        self.register_buffer("size", torch.stack([torch.from_numpy(c) for c, _ in probed], 1))
        # Decays depend on the width alone: exponentials are taken once for all degrees.
        widths = sorted({sigma for _, sigma in columns})
        self.places = [[widths.index(sigma) for sigma in sigmas] for _, sigmas in self.blocks]
        decays = [torch.from_numpy(self.gaussians.probed(sigma, 0)[1]) for sigma in widths]
        self.register_buffer("decay", torch.stack(decays, 1))
        self.register_buffer("known", torch.from_numpy(self.gaussians.known))
        labels = [f"gmp.l{k}s{sigma:g}" if sigma > 0 else "gmp.rho" for k, sigma in columns]
        units = [unit_power(_UNITS[k], 2 if settings.square else 1) for k, _ in columns]
        self.name_columns(labels, units)

    def refuse_unknown(self, numbers: Tensor) -> None:
        """Raise if an element has no Gaussians.

        Raises
        ------
        UsageError
            Which names the elements.
        """
        if not bool(self.known[numbers].all()):
            missing = sorted(set(numbers[~self.known[numbers]].tolist()))
            names = ", ".join(symbols[z] for z in missing)
            raise UsageError(
                f"fingerprint gmp: the Gaussians {self.gaussians.source!r} have no {names}; "
                "leave those crystals out, or give a file that has them in 'gaussians'"
            )

    def make_kernel(self) -> "FusedKernel | None":
        """See :meth:`Fingerprint.make_kernel`."""
        from atomprint.fingerprints.gmp_kernel import GMPKernel

        return GMPKernel(self)

    def _length(self, squares: Tensor) -> Tensor:
        """``√(x + s²) − s`` without cancellation; for s = 0 with the gradient 0 at 0."""
        soft = self.settings.softening
        if soft > 0:
            return squares / ((squares + soft**2).sqrt() + soft)
        positive = squares > 0
        roots = squares.where(positive, torch.ones_like(squares)).sqrt()
        return roots.where(positive, torch.zeros_like(roots))

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms, n_features)``.

        Raises
        ------
        UsageError
            If an element has no Gaussians.
        """
        self.refuse_unknown(graph.numbers)
        graph = graph.within(self.cutoff)
        r = graph.distances
        weights = taper(r, self.cutoff, self.settings.taper)
        chunks = Chunks(graph.center_index, graph.n_atoms)
        numbers = graph.numbers[graph.neighbor_index].to(r)
        edges = torch.cat([graph.edge_vectors, torch.stack([r, weights, numbers], 1)], dim=1)
        packed = chunks.pack(edges)
        harmonics = solid_harmonics(packed[:, :3], self.l_max)
        # Empty places have the number 0, whose Gaussians have no height.
        elements = packed[:, 5].detach().long()
        # Far away nothing is left; floats below the normal range would only be slow.
        exponent = -self.decay.to(r)[elements] * packed[:, 3, None, None].square()
        shape = torch.exp(exponent.clamp_min(-80.0)) * packed[:, 4, None, None]
        values, column = [], 0
        for (degree, sigmas), places in zip(self.blocks, self.places, strict=True):
            size = self.size.to(r)[:, column : column + len(sigmas)]
            column += len(sigmas)
            radial = (size[elements] * shape[:, places]).sum(-1)
            moments = chunks.sum_outer(radial, harmonics[:, degree**2 : (degree + 1) ** 2])
            if degree == 0:  # the atom itself, at r = 0, where Y_00 is the only one not zero
                itself = size[graph.numbers].sum(-1) / math.sqrt(4 * math.pi)
                moments = moments + itself[:, :, None]
            if sigmas == (0.0,):
                density = math.sqrt(4 * math.pi) * moments[:, :, 0]
                values.append(density.square() if self.settings.square else density)
            else:
                total = multipole_factor(degree) * moments.square().sum(-1)
                values.append(total if self.settings.square else self._length(total))
        return torch.cat(values, dim=1)


def multipole_factor(degree: int) -> float:
    """``(2l-1)!! l! 4π / (2l+1)``: from spherical to Maxwell-Cartesian harmonics of degree l."""
    double = math.prod(range(2 * degree - 1, 0, -2))
    return double * math.factorial(degree) * 4 * math.pi / (2 * degree + 1)


def taper(distances: Tensor, cutoff: float, width: float | None) -> Tensor:
    """1 up to a width before the cutoff, from there to 0 as half a period of a cosine."""
    inside = distances < cutoff
    if width is None:
        return inside.to(distances)
    part = ((distances - (cutoff - width)) / width).clamp_min(0.0)
    value = 0.5 * (torch.cos(math.pi * part) + 1)
    return torch.where(inside, value, torch.zeros_like(value))
