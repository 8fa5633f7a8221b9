"""What every fingerprint promises."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings, validate
from atomprint.structures.graph import GraphBatch, sum_by_index

if TYPE_CHECKING:
    import numpy.typing as npt

    from atomprint.fingerprints.kernels.base import FusedKernel
    from atomprint.fingerprints.kernels.gpu.kernel import GpuKernel

Per = Literal["atom", "crystal"]
Pool = Literal["mean", "sum", "variance", "third", "fourth"]
Path = Literal["auto", "reference", "fused"]
"""Which program computes: ``reference`` is plain PyTorch on any device; ``fused`` are the compiled
kernels of :mod:`atomprint.fingerprints.kernels`; ``auto`` takes the fastest that can."""

LARGEST_CUTOFF = 100.0
"""Å."""
_POWER: dict[Pool, int] = {"mean": 1, "sum": 1, "variance": 2, "third": 3, "fourth": 4}


class FingerprintSpec(Settings):
    """What every fingerprint's settings have in common.

    Subclasses add ``kind: Literal[...]``, the tag that tells them apart.
    """

    per: Per = Field("atom", description="A row per atom, or one per crystal.")
    pool: tuple[Pool, ...] = Field(
        ("mean",),
        description="How a crystal's row is made of its atoms' rows, a block of columns each: "
        "mean, sum, or central moments over atoms (variance, third, fourth).",
        min_length=1,
    )

    @model_validator(mode="after")
    def _can_be_computed(self) -> "FingerprintSpec":
        cutoff = getattr(self, "cutoff", None)
        if cutoff is not None and cutoff > LARGEST_CUTOFF:
            raise ValueError(
                f"cutoff is {cutoff:g} Å and can be {LARGEST_CUTOFF:g} at most: an atom has some "
                "400,000 neighbours within that"
            )
        if len(set(self.pool)) < len(self.pool):
            raise ValueError(f"pool names one twice: {', '.join(self.pool)}; give each once")
        return self

    @abstractmethod
    def build(self) -> "Fingerprint":
        """Make the fingerprint."""


class Fingerprint(nn.Module, ABC):
    """A function of a :class:`GraphBatch` that describes structure, without any label.

    Values do not change under rotation, translation, permutation (rows follow the atoms), another
    choice of the same lattice or a supercell; one crystal's values do not depend on what else is
    in the batch. :mod:`atomprint.testing` checks all of it.

    A member sets ``settings_class``, annotates ``settings`` with that class, and defines
    :meth:`prepare` and :meth:`per_atom`.

    Parameters
    ----------
    settings
        Complete settings; or none, and the fields that differ from the defaults as keywords.

    Raises
    ------
    UsageError
        If a keyword is no setting of this fingerprint, or its value cannot be.

    Attributes
    ----------
    settings
        All settings, resolved.
    kind
        Name of the fingerprint, the tag of its settings.
    cutoff
        In Å: the graph must be built at this cutoff or above. It may exceed the cutoff in the
        settings where smeared neighbours beyond that one still reach inside.
    units
        One unit per column; ``"1"`` is dimensionless.
    path
        Which program computes, see :data:`Path`; may be set at any time.
    mean_first
        Whether a crystal's row is :meth:`of_mean` of its atoms' mean :meth:`summands`, and not
        pooled from their rows.
    needs_volume
        Whether values are divided by the density, which a molecule does not have.
    exempt
        Laws of :mod:`atomprint.testing.fingerprints` that do not hold, each with the reason.
    """

    settings_class: ClassVar[type[FingerprintSpec]]
    settings: FingerprintSpec
    cutoff: float
    units: tuple[str, ...]
    exempt: dict[str, str]

    def __init__(self, settings: FingerprintSpec | None = None, /, **keywords: Any) -> None:
        super().__init__()
        self.kind: str = self.settings_class.model_fields["kind"].default
        if settings is None:
            settings = validate(self.settings_class, keywords, f"fingerprint {self.kind}")
        elif keywords:
            raise UsageError(f"fingerprint {self.kind}: give settings or keywords, not both")
        self.settings = settings
        self.per = settings.per
        self.path: Path = "auto"
        self._kernel: FusedKernel | None = None
        self._kernel_made = False
        self._gpu_kernel: GpuKernel | None = None
        self.exempt = {}
        self.needs_volume = False
        self.mean_first = False
        self._siblings: dict[Per, Fingerprint] = {}
        self._labels: tuple[str, ...] = ()
        self.units = ()
        self.prepare()
        if self.per == "crystal":
            self._name_pools()

    @abstractmethod
    def prepare(self) -> None:
        """Set the cutoff, buffers and exemptions, and call :meth:`name_columns`."""

    def name_columns(self, labels: Sequence[str], units: Sequence[str] | str) -> None:
        """Say what the columns of :meth:`per_atom` are; one unit may stand for all."""
        self._labels = tuple(labels)
        if len(set(self._labels)) < len(self._labels):
            twice = next(name for name, n in Counter(self._labels).items() if n > 1)
            raise UsageError(
                f"fingerprint {self.kind}: two columns would be called {twice!r}; a channel, "
                "function or width is given twice, or two are the same to the digits of a name"
            )
        self.units = (units,) * len(self._labels) if isinstance(units, str) else tuple(units)

    def _name_pools(self) -> None:
        """Name the columns of a crystal's row, a block for every pool."""
        pools = self.settings.pool
        if "sum" in pools:
            reason = "a sum over atoms grows with their number"
            self.exempt = self.exempt | {"supercell": reason, "small_cell": reason}
        if {"variance", "third", "fourth"} & set(pools):
            reason = "differences between atoms that are nearly alike lose digits"
            self.exempt = self.exempt | {"float32": reason}
        if pools == ("mean",):
            return
        self._labels = tuple(f"{label}.{pool}" for pool in pools for label in self._labels)
        self.units = tuple(unit_power(unit, _POWER[pool]) for pool in pools for unit in self.units)

    def labels(self) -> tuple[str, ...]:
        """One name per column, such as ``soap.en.n0n3l2``."""
        return self._labels

    @property
    def id(self) -> str:
        """Hash of all settings, see :func:`fingerprint_id`."""
        return fingerprint_id(self.settings)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self._labels)

    if TYPE_CHECKING:  # nn.Module's own says Any

        def __call__(self, graph: GraphBatch) -> Tensor:
            """Call :meth:`forward`."""

    def compute(
        self,
        structures: Any,
        *,
        dtype: "npt.DTypeLike" = "float64",
        per: Per | None = None,
        path: Path | None = None,
        threads: int | None = None,
        memory: float | None = None,
    ) -> "npt.NDArray[Any]":
        """Compute the fingerprint of structures, without graphs and without gradients.

        Parameters
        ----------
        structures
            One or a list of ASE Atoms, pymatgen Structures or Molecules, or our own crystals.
            Where atoms do not repeat (``pbc=False``), no image of them is a neighbour.
        dtype
            Float type of the numbers: float32 or float64, as a name or as NumPy's type.
        per
            A row an atom or a row a crystal; None: as the settings say. For the columns' names
            after a change see :meth:`with_per`.
        path
            See :data:`Path`; None: the attribute.
        threads
            How many; None takes PyTorch's number. The numbers do not depend on it.
        memory
            Working memory in MiB beside the result, 256 by default.

        Returns
        -------
        ndarray
            ``(n_atoms, n_features)`` with atoms in the order given, or
            ``(n_structures, n_features)``.

        Raises
        ------
        UsageError
            If this is no structure, or the path cannot be taken.
        DataError
            If a structure has no atoms, disorder, or a flat cell.
        """
        from atomprint.fingerprints.compute import compute_many

        try:
            name = np.dtype(dtype).name
        except TypeError:  # another library's, or no type at all
            name = str(dtype).removeprefix("torch.")
        return compute_many(
            [self], structures, dtype=name, per=per, path=path, threads=threads, memory=memory
        )[0]

    def with_per(self, per: Per) -> "Fingerprint":
        """Return the same fingerprint with a row an atom or a row a crystal; itself if it is so."""
        if per == self.per:
            return self
        if per not in self._siblings:
            values = self.settings.model_dump() | {"per": per}
            settings = validate(self.settings_class, values, f"fingerprint {self.kind}")
            self._siblings[per] = type(self)(settings)
        sibling = self._siblings[per]
        # What was learnt since then goes with it.
        sibling.load_state_dict(self.state_dict())
        sibling.path = self.path
        return sibling

    def check_elements(self, numbers: Tensor) -> None:
        """Refuse atomic numbers that the settings do not cover; most fingerprints cover all."""

    def forward(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms | n_crystals, n_features)`` in the graph's float type and device."""
        if not isinstance(graph, GraphBatch):
            raise UsageError(
                f"fingerprint {self.kind}: called with {type(graph).__name__}, not with a "
                "GraphBatch; compute(structures) takes Atoms, Structures and crystals"
            )
        on_gpu = self._gpu_kernel_for(graph)
        if on_gpu is not None:
            return self._pooled(on_gpu.rows(graph.within(self.cutoff)), graph)
        kernel = self._kernel_for(graph)
        if kernel is None:
            return self.reference(graph)
        from atomprint.fingerprints.kernels.bridge import rows_of_graph

        rows = rows_of_graph(kernel, graph, self.cutoff, self.summands)
        return self._pooled(rows, graph)

    def reference(self, graph: GraphBatch) -> Tensor:
        """Compute the same in plain PyTorch, differentiable any number of times."""
        return self._pooled(self.summands(graph), graph)

    def _pooled(self, rows: Tensor, graph: GraphBatch) -> Tensor:
        """What :meth:`forward` gives, of what the atoms have."""
        if self.mean_first:
            return self.of_mean(crystal_mean(rows, graph))
        return rows if self.per == "atom" else pool_atoms(rows, graph, self.settings.pool)

    def summands(self, graph: GraphBatch) -> Tensor:
        """What a kernel computes of every atom: its row, or what :meth:`of_mean` wants."""
        return self.per_atom(graph)

    @property
    def n_summands(self) -> int:
        """Number of columns of :meth:`summands`."""
        return self.n_features

    def of_mean(self, means: Tensor) -> Tensor:
        """Make crystals' rows of the means of :meth:`summands`, ``(n_crystals, n_features)``."""
        raise NotImplementedError(f"fingerprint {self.kind} pools rows")

    def make_kernel(self) -> "FusedKernel | None":
        """Make the fused kernel of :meth:`summands`; None where there is only the reference."""
        return None

    @property
    def kernel(self) -> "FusedKernel | None":
        """The fused kernel of these settings, made once; None where there is only the reference."""
        if not self._kernel_made:
            self._kernel, self._kernel_made = self.make_kernel(), True
        return self._kernel

    def _gpu_kernel_for(self, graph: GraphBatch) -> "GpuKernel | None":
        """Choose the fused kernel of a GPU, made once; only where it is asked for by name."""
        if self.path != "fused" or graph.device.type != "cuda":
            return None
        if self._gpu_kernel is None:
            from atomprint.fingerprints.kernels.gpu import gpu_kernel_of

            self._gpu_kernel = gpu_kernel_of(self.kernel)
        return self._gpu_kernel

    def _kernel_for(self, graph: GraphBatch) -> "FusedKernel | None":
        """Choose the path: the fused kernel where it can do what is asked, or None.

        ``auto`` does not take it where a parameter or the geometry needs a gradient that the
        kernel cannot give.
        """
        if self.path == "reference" or (self.path == "auto" and graph.device.type != "cpu"):
            return None
        geometry = graph.positions.requires_grad or graph.cells.requires_grad
        learning = any(p.requires_grad for p in self.parameters())
        kernel, missing = self.kernel, ""
        if kernel is None:
            missing = "these settings have no fused kernel"
        elif graph.device.type != "cpu":
            missing = f"the graph is on {graph.device}"
        elif torch.is_grad_enabled() and (learning or (geometry and not kernel.has_gradient)):
            missing = "a gradient is needed that the fused kernel does not give"
        if missing and self.path == "fused":
            raise UsageError(f"fingerprint {self.kind}: path 'fused' cannot be taken: {missing}")
        return None if missing else kernel

    @abstractmethod
    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute a row per atom, ``(n_atoms, n_columns)``, in plain PyTorch."""


def pool_atoms(rows: Tensor, graph: GraphBatch, pools: Sequence[Pool]) -> Tensor:
    """Make crystals' rows from atoms' rows, ``(n_atoms, n) -> (n_crystals, n_pools * n)``.

    Moments are central and taken as they are, without a root or a quotient, so that they are
    smooth where all atoms are alike; both passes are needed for digits in float32.
    """
    mean = crystal_mean(rows, graph)
    blocks: list[Tensor] = []
    for pool in pools:
        if pool == "mean":
            blocks.append(mean)
        elif pool == "sum":
            blocks.append(sum_by_index(rows, graph.crystal_index, graph.n_crystals))
        else:
            gap = rows - mean[graph.crystal_index]
            blocks.append(crystal_mean(gap ** _POWER[pool], graph))
    return torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0]


def unit_power(unit: str, power: int) -> str:
    """Unit of a power of something: ``("Å^2", 3) -> "Å^6"``."""
    if power == 1 or unit == "1":
        return unit
    name, _, exponent = unit.partition("^")
    if "/" in name or " " in name:
        return f"({unit})^{power}"
    return f"{name}^{int(exponent or 1) * power}"


def crystal_mean(per_atom: Tensor, graph: GraphBatch) -> Tensor:
    """Mean over the atoms of each crystal, ``(n_atoms, ...) -> (n_crystals, ...)``."""
    total = sum_by_index(per_atom, graph.crystal_index, graph.n_crystals)
    counts = graph.n_atoms_per_crystal.to(per_atom.dtype)
    return total / counts.view(-1, *[1] * (per_atom.dim() - 1))


def fingerprint_id(settings: Settings | Sequence[Settings]) -> str:
    """Short hash of all settings (12 hex digits), which travels with the numbers.

    Equal settings have equal ids, in any process and on any machine; a value left at its default
    counts like the same value given.
    """
    if isinstance(settings, Settings):
        plain: object = settings.model_dump(mode="json")
    else:
        plain = [one.model_dump(mode="json") for one in settings]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
