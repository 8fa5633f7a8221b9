"""What is timed and compared: pairs of an atomprint fingerprint and the same by another program."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import peers
from ase import Atoms

from structures import one_species

CUTOFF = 6.0
G2 = tuple((eta, shift) for eta in (0.5, 2.0) for shift in (1.5, 2.5, 3.5, 4.5))
G4 = tuple(
    (eta, zeta, sign) for eta in (0.005, 0.05) for zeta in (1.0, 4.0) for sign in (1.0, -1.0)
)
SHELLS = tuple(np.linspace(0.6, 5.4, 10).round(3).tolist())
SHELL_ETA = 3.0
RDF_BINS, ADF_BINS, ADF_CUTOFF = 60, 36, 4.5

Ours = Callable[[list[Atoms], str, int], Any]
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes
    ----------
    title
        What is computed.
    peer_title
        By what else.
    ours
        Makes the call of atomprint: crystals, float type, threads.
    peer
        Makes the call of the peer from all crystals of the data (for lists of species).
    goal, aim
        How many times as fast as the peer it should be at least, and ideally; None to only state.
    slow_peer
        Whether the peer needs small parts: crystals of a part are then ``slow_part``.
    map_species
        Whether all atoms become one species first, for both.
    values
        Brings both results to the same form, not timed.
    comparable
        Whether numbers should agree at all.
    several
        Whether both give several results, of which the last is compared.
    measure
        ``values``: differences relative to the largest value of a row. ``counts``: the share of
        counts that lie in another bin (a distance on an edge of two bins falls on either side).
    """

    title: str
    peer_title: str
    ours: Callable[[], Ours]
    peer: Callable[[list[Atoms]], peers.Rows]
    goal: float | None = None
    aim: float | None = None
    slow_peer: bool = False
    map_species: bool = False
    values: Callable[[Any, Any, list[Atoms]], Pair] = lambda ours, peer, frames: (ours, peer)
    comparable: bool = True
    measure: str = "values"
    several: bool = False
    note: str = ""
    fingerprints: Callable[[], list[Any]] = field(default=list)

    def prepare(self, frames: list[Atoms]) -> list[Atoms]:
        """Crystals as both programs get them."""
        return one_species(frames) if self.map_species else frames


def _compute(make: Callable[[], list[Any]]) -> Callable[[], Ours]:
    """Call of one fingerprint's ``compute``, or of ``compute_many`` for several."""

    def build() -> Ours:
        from atomprint.fingerprints.compute import compute_many

        made = make()
        if len(made) == 1:
            return lambda frames, dtype, threads: made[0].compute(
                frames, dtype=dtype, threads=threads
            )
        return lambda frames, dtype, threads: compute_many(
            made, frames, dtype=dtype, threads=threads
        )

    return build


def _case(fingerprints: Callable[[], list[Any]], **more: Any) -> Case:
    return Case(ours=_compute(fingerprints), fingerprints=fingerprints, **more)


def _rdf() -> list[Any]:
    from atomprint.fingerprints import RDF

    return [RDF(cutoff=CUTOFF, n_bins=RDF_BINS, smearing=None, channels=("one",), per="crystal")]


def _adf() -> list[Any]:
    from atomprint.fingerprints import ADF

    return [
        ADF(
            cutoff=ADF_CUTOFF, form="histogram", n_bins=ADF_BINS, cutoff_function="none",
            channels=("one",), per="crystal", pool=("sum",),
        )
    ]  # fmt: skip


def _soap(**more: Any) -> list[Any]:
    from atomprint.fingerprints import SOAP

    return [SOAP(**{"cutoff": CUTOFF, "n_max": 8, "l_max": 6, "sigma": 0.5, **more})]


def _soap_featomic() -> list[Any]:
    return _soap(convention="featomic", cutoff_function="cosine", cutoff_width=0.5)


def _acsf() -> list[Any]:
    from atomprint.fingerprints.acsf import ACSF

    return [ACSF(cutoff=CUTOFF, g2=G2, g4=G4, channels=("one",))]


def _wacsf() -> list[Any]:
    from atomprint.fingerprints.wacsf import WACSF

    return [WACSF(cutoff=CUTOFF, channels=("one",))]


def _ead() -> list[Any]:
    from atomprint.fingerprints import EAD

    return [
        EAD(
            cutoff=CUTOFF, l_max=3, shells=SHELLS, eta=SHELL_ETA, channels=("Z",),
            scale_channels=False, convention="pyxtal",
        )
    ]  # fmt: skip


def _gmp() -> list[Any]:
    from atomprint.fingerprints.gmp import GMP

    return [GMP()]


def five(with_ead: bool = True) -> list[Any]:
    """RDF, ADF, wACSF, EAD and SOAP at once."""
    return _rdf() + _adf() + _wacsf() + (_ead() if with_ead else []) + _soap()


def _peer_wacsf() -> peers.Rows:
    """Make dscribe's ACSF of as many functions: 22 G2 on a grid, 10 G5 of five widths."""
    centers = np.linspace(0.5, CUTOFF - 0.5, 22)
    eta = 0.5 / (centers[1] - centers[0]) ** 2
    widths = np.linspace(1.0, CUTOFF - 0.5, 5)
    return peers.dscribe_acsf(
        CUTOFF,
        [peers.ONE_SYMBOL],
        g2_params=[[eta, center] for center in centers],
        g5_params=[[0.5 / width**2, 1.0, sign] for width in widths for sign in (-1.0, 1.0)],
    )


def _peer_soap(frames: list[Atoms]) -> peers.Rows:
    return peers.dscribe_soap(CUTOFF, 8, 6, 0.5, peers.species_of(frames))


def _peers_of_five(frames: list[Atoms], with_ead: bool = True) -> Callable[[list[Atoms]], Any]:
    programs = [
        peers.matscipy_rdf(CUTOFF, RDF_BINS),
        peers.matscipy_adf(ADF_CUTOFF, ADF_BINS),
        _peer_wacsf(),
        *([peers.pyxtal_ead(CUTOFF, 3, SHELLS, SHELL_ETA)] if with_ead else []),
        _peer_soap(frames),
    ]
    return lambda part: [program(part) for program in programs]


def _counts_of_rdf(ours: Any, peer: Any, frames: list[Atoms]) -> Pair:
    shells = np.diff(np.linspace(0, CUTOFF, RDF_BINS + 1) ** 3)
    scale = np.array([len(a) ** 2 / a.get_volume() for a in frames])[:, None] * shells
    return ours.astype(float) * scale, peer * scale


def _counts_of_adf(ours: Any, peer: Any, frames: list[Atoms]) -> Pair:
    """Leave out crystals with an image of an atom in its own shell: its two images are opposite.

    matscipy 1.3.1 puts an angle of exactly 180 degrees into the first bin or anywhere.
    """
    from matscipy.neighbours import neighbour_list

    keep = []
    for atoms in frames:
        i, j = neighbour_list("ij", atoms, ADF_CUTOFF)
        keep.append(not (i == j).any())
    return ours[keep], peer[keep]


def _lengths(ours: Any, peer: Any, frames: list[Atoms]) -> Pair:
    """Sorted distances of each crystal; they must be as many."""
    first, vectors = ours
    sizes = np.cumsum([0, *map(len, frames)])
    theirs = np.linalg.norm(peer, axis=1)
    if first[-1] != len(theirs):
        raise RuntimeError(f"neighbour lists differ: {first[-1]} pairs here, {len(theirs)} there")
    mine = np.linalg.norm(vectors.astype(float), axis=1)
    ends = first[sizes]
    parts = [slice(ends[k], ends[k + 1]) for k in range(len(frames))]
    return tuple(
        np.concatenate([np.sort(values[part]) for part in parts])[:, None]
        for values in (mine, theirs)
    )  # type: ignore[return-value]


def _search() -> Ours:
    from atomprint.structures.search import search

    def run(frames: list[Atoms], dtype: str, threads: int) -> Any:
        found = search(
            np.concatenate([atoms.positions for atoms in frames]),
            np.stack([atoms.cell.array for atoms in frames]),
            np.cumsum([0, *map(len, frames)]),
            CUTOFF,
            dtype=np.dtype(dtype),
        )
        return found.first, found.vectors

    return run


CASES: dict[str, Case] = {
    "soap": _case(
        _soap,
        title="SOAP, one density (mu2), 8 radial functions, l up to 6, 6 Å",
        peer_title="dscribe",
        peer=_peer_soap,
        goal=10,
        aim=25,
    ),
    "soap_featomic": _case(
        _soap_featomic,
        title="SOAP in featomic's convention, 8 radial functions, l up to 6, 6 Å",
        peer_title="featomic, one species, one call",
        peer=lambda frames: peers.featomic_soap(CUTOFF, 8, 6, 0.5, 0.5),
        goal=12,
        aim=40,
        map_species=True,
        values=lambda ours, peer, frames: (ours, upper(peer, 8, 6)),
    ),
    "acsf": _case(
        _acsf,
        title="ACSF: 8 G2 and 8 G4 with r_jk, 6 Å",
        peer_title="dscribe, one species",
        peer=lambda frames: peers.dscribe_acsf(
            CUTOFF, [peers.ONE_SYMBOL], g2_params=list(map(list, G2)), g4_params=list(map(list, G4))
        ),
        goal=12,
        aim=30,
        map_species=True,
    ),
    "neighbors": Case(
        title="neighbour list with shifts and vectors, 6 Å",
        peer_title="vesin",
        ours=_search,
        peer=lambda frames: peers.vesin_list(CUTOFF),
        goal=4,
        aim=10,
        values=_lengths,
    ),
    "ead": _case(
        _ead,
        title="EAD, L up to 3, 10 radial functions, 6 Å",
        peer_title="pyxtal_ff",
        peer=lambda frames: peers.pyxtal_ead(CUTOFF, 3, SHELLS, SHELL_ETA),
        goal=50,
        aim=200,
        slow_peer=True,
    ),
    "gmp": _case(
        _gmp,
        title="GMP, default settings",
        peer_title="dscribe SOAP of 21 columns (another fingerprint, as a yardstick)",
        peer=lambda frames: peers.dscribe_soap(CUTOFF, 2, 6, 0.5, peers.species_of(frames)),
        comparable=False,
    ),
    "rdf": _case(
        _rdf,
        title="RDF, hard bins, 6 Å",
        peer_title="matscipy's neighbour list and numpy.histogram",
        peer=lambda frames: peers.matscipy_rdf(CUTOFF, RDF_BINS),
        goal=5,
        values=_counts_of_rdf,
        measure="counts",
    ),
    "adf": _case(
        _adf,
        title="ADF, histogram, 4.5 Å",
        peer_title="matscipy's angle_distribution",
        peer=lambda frames: peers.matscipy_adf(ADF_CUTOFF, ADF_BINS),
        goal=3,
        slow_peer=True,
        values=_counts_of_adf,
        measure="counts",
    ),
    "wacsf": _case(
        _wacsf,
        title="wACSF: 22 radial and 10 angular functions without r_jk, 6 Å",
        peer_title="dscribe ACSF of the same 22 G2 and 10 G5, one species",
        peer=lambda frames: _peer_wacsf(),
        map_species=True,
        values=lambda ours, peer, frames: (ours, peer[:, 1:]),
    ),
    "five": _case(
        five,
        title="RDF, ADF, wACSF, EAD and SOAP in one call",
        peer_title="the peers above one after the other",
        peer=_peers_of_five,
        goal=10,
        aim=30,
        slow_peer=True,
        map_species=True,
        several=True,
        note="Numbers: of SOAP; each fingerprint has a row of its own.",
    ),
    "four": _case(
        lambda: five(with_ead=False),
        title="RDF, ADF, wACSF and SOAP in one call",
        peer_title="their peers one after the other",
        peer=lambda frames: _peers_of_five(frames, with_ead=False),
        map_species=True,
        several=True,
        note="Without EAD, whose only peer is slow. Numbers: of SOAP.",
    ),
}


def upper(full: np.ndarray, n_max: int, l_max: int) -> np.ndarray:
    """Columns l, n, n' ≥ n of featomic's, which has every n and n'."""
    cube = full.reshape(len(full), l_max + 1, n_max, n_max)
    i, j = np.triu_indices(n_max)
    return cube[:, :, i, j].reshape(len(full), -1)
