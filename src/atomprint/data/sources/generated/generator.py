"""The generator: settings, the loop over routes, what is thrown away, and the Parquet file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import groupby
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from atomprint.ground.errors import UsageError

from .chemistry import CLASS_SHARE, Chemistry, chemical_class, load_chemistry
from .decoration import Candidate, Decorator
from .draws import drawn
from .prototype_cache import load_prototypes
from .relaxation import (
    Bonds,
    Draft,
    Ints,
    bond_valence_sums,
    bonds_of,
    periodic_pairs,
    relax,
)

GENERATOR_VERSION = 5
"""Goes up when the same settings give other crystals. 2: compiled relaxation, whose sums are
rounded otherwise; a few candidates in a thousand pass or fail differently. 3: small cells, and
routes alone, where runs went on for ever or nearly so; with default settings as 2. 4: metals
whose atoms are more than 5 Å apart, which were always rejected. 5: routes alone, whose crystals of
full classes are no longer relaxed first; with default settings as 4. The embedded file is of 1."""
LICENCE = (
    "The crystals are made by atomprint and carry its licence. Sources: AFLOW prototypes, "
    "substitution probabilities and element tables by way of pymatgen (MIT); ICSD "
    "oxidation-state counts by way of SMACT (MIT); aggregate composition statistics of the "
    "Materials Project (CC BY 4.0)."
)


_PATIENCE = 300
"""Draws in a row without a candidate after which a route is left out."""
_FULL = 100
"""Crystals of full classes since the last that was kept, after which classes may be as they are."""
_BARREN = 50
"""Batches in a row without a new crystal after which there seem to be no more."""


class GeneratorSettings(BaseModel):
    """What to generate; the same settings and package versions give the same crystals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_crystals: int = Field(default=6500, ge=1, description="Number of crystals.")
    seed: int = Field(default=0, ge=0, description="Seed of every random choice.")
    max_atoms: int = Field(default=40, ge=2, description="Largest number of atoms in a cell.")
    route_share: dict[str, float] = Field(
        default={
            "substitution": 0.20,
            "charge-balanced": 0.14,
            "ordered": 0.08,
            "search": 0.22,
            "intermetallic": 0.36,
        },
        description="Share of crystals by route.",
    )
    n_trials: int = Field(
        default=4, ge=1, description="Random starts of the search route; the best is kept."
    )
    n_steps: int = Field(default=150, ge=0, description="Relaxation steps of a prototype.")
    repulsion: float = Field(
        default=0.005, ge=0, description="Strength of the repulsion between like charges."
    )
    evenness: float = Field(
        default=0.5, ge=0, description="Weight against bonds stronger than usual for their cation."
    )
    max_instability: float = Field(
        default=0.25,
        gt=0,
        description="Largest root-mean-square mismatch of bond-valence sums (valence units).",
    )
    max_misfit: float = Field(
        default=0.35,
        gt=0,
        description="Largest mean deviation (logarithm) from the usual coordination numbers.",
    )
    contact_fraction: float = Field(
        default=0.75,
        gt=0,
        description="Pairs closer than this fraction of the sum of the data-mined radii (neutral) "
        "or of the distance of a full-valence bond (ions) are rejected.",
    )
    expansion: float = Field(
        default=0.01,
        gt=-0.5,
        description="Linear expansion of ionic crystals after relaxation: semilocal DFT databases "
        "have lattice constants about 1 % above the experiments behind bond valences.",
    )
    strain: float = Field(
        default=0.01, ge=0, description="Standard deviation of each component of a random strain."
    )
    rattle: float = Field(
        default=0.0, ge=0, description="Standard deviation of a random displacement (Å)."
    )
    batch: int = Field(default=96, ge=1, description="Candidates relaxed at once.")


@dataclass(frozen=True)
class GeneratedCrystal:
    """One crystal.

    Attributes
    ----------
    id : str
        ``gen-000001`` and so on.
    numbers : (N,) uint8 array
        Atomic numbers.
    cell : (3, 3) float32 array
        Lattice vectors as rows, Å.
    frac : (N, 3) float32 array
        Fractional coordinates in [0, 1).
    prototype : str
        Structure type it was decorated on, or the space group of the search.
    route : str
        ``substitution``, ``charge-balanced``, ``ordered``, ``search`` or ``intermetallic``.
    """

    id: str
    numbers: NDArray[np.uint8]
    cell: NDArray[np.float32]
    frac: NDArray[np.float32]
    prototype: str
    route: str


def generate(
    settings: GeneratorSettings,
    progress: Callable[[int], None] | None = None,
    rejected: Counter[str] | None = None,
) -> Iterator[GeneratedCrystal]:
    """Yield ``settings.n_crystals`` crystals, the same ones every time.

    Parameters
    ----------
    settings : GeneratorSettings
        What to generate.
    progress : callable, optional
        Called with the number of crystals yielded so far.
    rejected : Counter, optional
        Counts the candidates that were thrown away, by reason; of the throws of a search that
        compete the lot counts as one.

    Raises
    ------
    ModuleNotFoundError
        Without pymatgen or SMACT.
    UsageError
        When the settings allow no crystal, or no more new ones.

    Notes
    -----
    A route that cannot make anything (searched crystals have at least three atoms) is left out,
    and the others share its part. Where all that can be made is of classes that have their share,
    as with one route alone, the shares of classes are given up rather than the crystals.
    """
    for name in ("pymatgen", "smact"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f"Generating crystals needs {name}: pip install atomprint[generate]"
            )
    chemistry = load_chemistry()
    rng = np.random.default_rng(settings.seed)
    decorator = Decorator(
        chemistry, load_prototypes(settings.max_atoms), rng, settings.max_atoms, settings.n_trials
    )
    seen: dict[str, list[tuple[float, float]]] = {}
    rejected = Counter() if rejected is None else rejected
    routes: Counter[str] = Counter()
    dry: Counter[str] = Counter()
    n_yielded = n_full = n_barren = 0
    while n_yielded < settings.n_crystals:
        n_before = n_yielded
        candidates = _draw_batch(decorator, settings, routes, dry)
        for _, competing in groupby(candidates, key=lambda candidate: candidate.group):
            if n_yielded == settings.n_crystals:
                break
            group = list(competing)
            symbols = {chemistry.symbols[e] for e in group[0].element}
            kind = chemical_class(symbols)
            surplus = decorator.class_count[kind] - CLASS_SHARE[kind] * (n_yielded + 50)
            full = surplus > 0.01 * settings.n_crystals and n_yielded > 50
            # Asked before they are relaxed, which takes the most time.
            if full and n_full < _FULL:
                n_full += 1
                rejected["too many of its class"] += 1
                continue
            best = _best(group, settings, chemistry)
            if best is None:
                rejected["implausible"] += 1
                continue
            candidate, draft = best
            if not _is_new(candidate, draft, chemistry, seen):
                rejected["made before"] += 1
                continue
            routes[candidate.route] += 1
            decorator.keep(symbols)
            n_yielded += 1
            if n_full < _FULL:
                n_full = 0
            yield _finish(n_yielded, candidate, draft, settings, chemistry, rng)
            if progress is not None:
                progress(n_yielded)
        n_barren = 0 if n_yielded > n_before else n_barren + 1
        if n_barren == _BARREN:
            raise UsageError(
                f"nothing new in {_BARREN * settings.batch:,} candidates after {n_yielded:,} "
                f"generated crystals: with max_atoms={settings.max_atoms} there seem to be no "
                "more; ask for fewer or raise max_atoms"
            )


def _draw_batch(
    decorator: Decorator, settings: GeneratorSettings, routes: Counter[str], dry: Counter[str]
) -> list[Candidate]:
    """Candidates of the routes that lag furthest behind their share.

    ``dry`` counts each route's draws since its last candidate.
    """
    names = [name for name in settings.route_share if dry[name] < _PATIENCE]
    if not names:
        raise UsageError(
            f"max_atoms={settings.max_atoms}: no route makes crystals so small; raise it"
        )
    total = sum(settings.route_share[name] for name in names)
    n = sum(routes.values())
    lag = np.array(
        [settings.route_share[r] / total * (n + settings.batch) - routes[r] for r in names]
    )
    lag = np.maximum(lag, 0.0) + 1e-6
    candidates: list[Candidate] = []
    while len(candidates) < settings.batch:
        route = names[drawn(decorator.rng, lag)]
        found = decorator.draw(route)
        dry[route] = 0 if found else dry[route] + 1
        candidates.extend(found)
        if dry[route] == _PATIENCE:
            break  # The next batch is drawn without it.
    return candidates


def _best(
    group: Sequence[Candidate], settings: GeneratorSettings, chemistry: Chemistry
) -> tuple[Candidate, Draft] | None:
    """Relax candidates of one composition; the best one, or None if none is plausible."""
    drafts = [candidate.draft for candidate in group]
    if group[0].route == "search" and settings.n_steps:
        drafts = relax(drafts, n_steps=settings.n_steps, repulsion=0.02, evenness=1.0)
    relaxed = relax(
        drafts,
        n_steps=settings.n_steps,
        repulsion=settings.repulsion,
        evenness=settings.evenness,
    )
    scores = [
        _score(candidate, draft, settings, chemistry)
        for candidate, draft in zip(group, relaxed, strict=True)
    ]
    plausible = [(score, k) for k, score in enumerate(scores) if score is not None]
    if not plausible:
        return None
    _, k = min(plausible)
    draft = relaxed[k]
    if np.any(draft.charge != 0):
        draft = replace(draft, cell=draft.cell * (1.0 + settings.expansion))
    return group[k], draft


def _score(
    candidate: Candidate, draft: Draft, settings: GeneratorSettings, chemistry: Chemistry
) -> float | None:
    """Lower is better; None when the crystal is not plausible."""
    if not np.isfinite(draft.cell).all() or not np.isfinite(draft.frac).all():
        return None
    per_atom = draft.volume / len(candidate.element)
    lengths = np.linalg.norm(draft.cell, axis=1)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(draft.cell), axis=0)
    if not 4.0 < per_atom < 75.0 or heights.min() < 1.6 or lengths.max() > 45.0:
        return None
    return score_contacts(candidate.element, draft, settings, chemistry)


def score_contacts(
    element: Ints, draft: Draft, settings: GeneratorSettings, chemistry: Chemistry
) -> float | None:
    """Lower is better; None when distances, bond valences or coordinations are not plausible."""
    n_atoms = len(element)
    i, j, _, distance = periodic_pairs(draft.cell, draft.frac, 5.0)
    charge = draft.charge
    radii = chemistry.radius[element]
    touch = radii[i] + radii[j]
    n_near = np.bincount(i, distance < 1.25 * touch, n_atoms) + np.bincount(
        j, distance < 1.25 * touch, n_atoms
    )
    if not np.any(charge != 0):
        if np.any(distance < settings.contact_fraction * touch) or n_near.min() < 3:
            return None
        return 0.0
    product = charge[i] * charge[j]
    like = product > 0
    if np.any(distance[like] < draft.radius[i[like]] + draft.radius[j[like]] - 0.35):
        return None
    if n_near.min() < 1:
        return None
    bonds = bonds_of(draft)
    mismatch = bond_valence_sums(bonds, n_atoms) - np.abs(charge)
    instability = float(np.sqrt(np.mean(mismatch**2)))
    if instability > settings.max_instability:
        return None
    misfit = _coordination_misfit(draft, bonds)
    if misfit is None or misfit > settings.max_misfit:
        return None
    # crowded cations of high charge cost most (Pauling's third rule)
    close = np.exp(-distance[like] / 1.7) / distance[like]
    crowd = float((np.sqrt(product[like]) * close).sum()) / n_atoms
    return instability + misfit + 0.3 * crowd


def _coordination_misfit(draft: Draft, bonds: Bonds) -> float | None:
    """How far cations are from their usual coordination numbers (mean logarithm).

    None when a cation of strong bonds (P, S, Si, C, V(V) ...) is far from its own: these hardly
    ever change their coordination. The number of bonds of a cation is counted as
    ``(sum s)^2 / sum s^2``, which needs no cutoff.
    """
    n = len(draft.frac)
    total, square = bonds.sums(bonds.valence, n), bonds.sums(bonds.valence**2, n)
    cation = draft.charge > 0
    found = total[cation] ** 2 / square[cation]
    usual = draft.charge[cation] / draft.strength[cation]
    misfit = np.abs(np.log(found / usual))
    strong = draft.strength[cation] > 0.85
    if np.any(misfit[strong] > 0.32):
        return None
    return float(misfit.mean())


def _is_new(
    candidate: Candidate,
    draft: Draft,
    chemistry: Chemistry,
    seen: dict[str, list[tuple[float, float]]],
) -> bool:
    """Whether no crystal of this formula has the same volume and contacts (within 1.5 %)."""
    counts = Counter(chemistry.symbols[e] for e in candidate.element)
    divisor = 0
    for value in counts.values():
        divisor = gcd(divisor, value)
    formula = "".join(f"{s}{counts[s] // divisor}" for s in sorted(counts))
    n = len(candidate.element)
    _, _, _, distance = periodic_pairs(draft.cell, draft.frac, 4.5)
    closest = np.sort(distance)[: 6 * n]
    mark = (draft.volume / n, float(closest.mean()) if len(closest) else 0.0)
    for volume, contact in seen.get(formula, []):
        if abs(mark[0] / volume - 1.0) < 0.03 and abs(mark[1] / max(contact, 1e-6) - 1.0) < 0.015:
            return False
    seen.setdefault(formula, []).append(mark)
    return True


def _finish(
    index: int,
    candidate: Candidate,
    draft: Draft,
    settings: GeneratorSettings,
    chemistry: Chemistry,
    rng: np.random.Generator,
) -> GeneratedCrystal:
    """Strain, rattle, round (cells to 1e-3 Å, coordinates to 1e-4) and name."""
    random = rng.normal(0.0, settings.strain, (3, 3))
    cell = draft.cell @ (np.eye(3) + (random + random.T) / 2.0)
    frac = draft.frac
    if settings.rattle:
        frac = frac + rng.normal(0.0, settings.rattle, frac.shape) @ np.linalg.inv(cell)
    frac = np.round(frac % 1.0, 4) % 1.0
    return GeneratedCrystal(
        id=f"gen-{index:06d}",
        numbers=np.array(
            [chemistry.number[chemistry.symbols[e]] for e in candidate.element], dtype=np.uint8
        ),
        cell=np.round(cell, 3).astype(np.float32),
        frac=frac.astype(np.float32),
        prototype=candidate.prototype,
        route=candidate.route,
    )


def write_corpus(
    path: str | Path,
    settings: GeneratorSettings,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Generate and write one Parquet file (zstd); settings and licence travel in its schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    crystals = list(generate(settings, progress))
    note: dict[str, Any] = {
        "generator_version": GENERATOR_VERSION,
        "seed": settings.seed,
        "settings": settings.model_dump(),
        "licence": LICENCE,
    }
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("numbers", pa.list_(pa.uint8())),
            ("cell", pa.list_(pa.float32(), 9)),
            ("frac", pa.list_(pa.float32())),
            ("prototype", pa.string()),
            ("route", pa.string()),
        ],
        metadata={"atomprint": json.dumps(note, sort_keys=True)},
    )
    table = pa.table(
        {
            "id": [c.id for c in crystals],
            "numbers": [c.numbers for c in crystals],
            "cell": [c.cell.ravel() for c in crystals],
            "frac": [c.frac.ravel() for c in crystals],
            "prototype": [c.prototype for c in crystals],
            "route": [c.route for c in crystals],
        },
        schema=schema,
    )
    path = Path(path)
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=["prototype", "route", "numbers", "cell", "frac"],
    )
    return path
