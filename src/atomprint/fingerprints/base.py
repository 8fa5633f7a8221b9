"""What every fingerprint promises."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from atomprint.ground.settings import Settings
from atomprint.structures.graph import GraphBatch, sum_by_index

Per = Literal["atom", "crystal"]


class Fingerprint(nn.Module, ABC):
    """A function of a :class:`GraphBatch` that describes structure, without any label.

    Values do not change under rotation, translation, permutation (rows follow the atoms), another
    choice of the same lattice or a supercell; one crystal's values do not depend on what else is
    in the batch. :mod:`atomprint.testing` checks all of it.

    Attributes
    ----------
    kind
        Name of the fingerprint, the tag of its settings.
    per
        Whether a row describes an atom or a crystal.
    cutoff
        In Å: the graph must be built at this cutoff or above. It may exceed the cutoff in the
        settings where smeared neighbours beyond that one still reach inside.
    labels
        One name per column, such as ``soap.en.n0n3l2``.
    units
        One unit per column; ``"1"`` is dimensionless.
    exempt
        Laws of :mod:`atomprint.testing.fingerprints` that do not hold, each with the reason.
    """

    kind: str
    per: Per
    cutoff: float
    labels: list[str]
    units: list[str]
    exempt: Mapping[str, str]

    def __init__(self, kind: str, per: Per, cutoff: float) -> None:
        super().__init__()
        self.kind = kind
        self.per = per
        self.cutoff = cutoff
        self.labels = []
        self.units = []
        self.exempt = {}

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.labels)

    if TYPE_CHECKING:  # nn.Module's own says Any

        def __call__(self, graph: GraphBatch) -> Tensor:
            """Call :meth:`forward`."""

    @abstractmethod
    def forward(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms | n_crystals, n_features)`` in the graph's float type and device."""


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
