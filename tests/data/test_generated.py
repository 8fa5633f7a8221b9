"""The embedded corpus and the generator that wrote it."""

import json
from collections import Counter
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from math import gcd

import numpy as np
import pyarrow.parquet as pq
import pytest

from atomprint.data.sources.generated import (
    GENERATOR_VERSION,
    GeneratorSettings,
    generate,
    generator,
    write_corpus,
)
from atomprint.data.sources.generated.orbits import fix, orbit_of
from atomprint.data.sources.generated.relaxation import (
    Draft,
    bond_valence_sums,
    bonds_of,
    periodic_pairs,
    relax,
)
from atomprint.ground import elements
from atomprint.ground.errors import UsageError

CORPUS = files("atomprint") / "data/embedded/corpus.parquet"
MAX_BYTES = 1_900_000
SHORTEST = 0.62
"""Fraction of the sum of the covalent radii below which two atoms are too close."""
REACH = 3.3
"""Å; no pair of elements is too close beyond it."""

needs_tools = pytest.mark.skipif(
    find_spec("pymatgen") is None or find_spec("smact") is None,
    reason="generating needs pymatgen and SMACT: pip install atomprint[generate]",
)


@cache
def corpus() -> list[dict]:
    return pq.read_table(str(CORPUS)).to_pylist()


def brute_force_distances(cell: np.ndarray, frac: np.ndarray, reach: float) -> np.ndarray:
    """Distances (N, N, images) over every lattice translation that can matter; own image: inf."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    n = np.ceil(reach / heights + 0.5).astype(int)
    images = np.array(
        [[a, b, c] for a in range(-n[0], n[0] + 1) for b in range(-n[1], n[1] + 1)
         for c in range(-n[2], n[2] + 1)]
    )  # fmt: skip
    delta = frac[None, :] - frac[:, None]
    delta = (delta - np.round(delta)) @ cell
    distance = np.linalg.norm(delta[:, :, None] + (images @ cell)[None, None], axis=-1)
    home = int(np.flatnonzero((images == 0).all(axis=1))[0])
    distance[np.arange(len(frac)), np.arange(len(frac)), home] = np.inf
    return distance


@cache
def shortest_distances() -> list[np.ndarray]:
    """Shortest distance of every pair of atoms (N, N) up to `REACH`, for every crystal."""
    found = []
    for row in corpus():
        distance = brute_force_distances(*geometry(row), REACH).min(axis=2)
        found.append(np.minimum(distance, REACH))
    return found


def geometry(row: dict) -> tuple[np.ndarray, np.ndarray]:
    cell = np.array(row["cell"], dtype=float).reshape(3, 3)
    return cell, np.array(row["frac"], dtype=float).reshape(-1, 3)


def formula(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    counts = Counter(numbers)
    divisor = 0
    for value in counts.values():
        divisor = gcd(divisor, value)
    return tuple(sorted((z, n // divisor) for z, n in counts.items()))


def test_corpus_is_large_small_and_diverse():
    rows = corpus()
    assert len(rows) >= 4000
    assert CORPUS.stat().st_size <= MAX_BYTES
    assert len({z for r in rows for z in r["numbers"]}) >= 60
    assert len({r["route"] for r in rows}) >= 4
    assert len({r["prototype"] for r in rows}) >= 100


def test_corpus_layout():
    schema = pq.read_schema(str(CORPUS))
    assert schema.names == ["id", "numbers", "cell", "frac", "prototype", "route"]
    note = json.loads(schema.metadata[b"atomprint"])
    assert note["generator_version"] == 1 < GENERATOR_VERSION
    # the settings in the file are settings the generator still understands
    assert GeneratorSettings(**note["settings"]).seed == note["seed"]
    assert "MIT" in note["licence"]
    for row in corpus():
        n = len(row["numbers"])
        assert len(row["cell"]) == 9
        assert len(row["frac"]) == 3 * n
        assert 1 <= n <= 40
        assert 0.0 <= min(row["frac"]) <= max(row["frac"]) < 1.0
        assert abs(np.linalg.det(np.reshape(row["cell"], (3, 3)))) / n > 3.0


def test_corpus_ids_are_unique():
    ids = [r["id"] for r in corpus()]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "gen-000001"


def test_corpus_has_no_short_contacts():
    assert 2.0 * SHORTEST * elements.covalent_radius[:95].max() <= REACH
    for row, distance in zip(corpus(), shortest_distances(), strict=True):
        r = elements.covalent_radius[np.array(row["numbers"])]
        ratio = distance / (r[:, None] + r[None, :])
        assert ratio.min() >= SHORTEST, (row["id"], row["prototype"])


def test_corpus_has_no_duplicates():
    """No two crystals share formula, volume and contacts."""
    seen: dict[tuple, list[tuple[float, np.ndarray]]] = {}
    for row, distance in zip(corpus(), shortest_distances(), strict=True):
        cell, frac = geometry(row)
        volume = abs(np.linalg.det(cell)) / len(frac)
        contacts = np.quantile(distance.min(axis=1), [0.0, 0.25, 0.5, 0.75, 1.0])
        for other_volume, other in seen.get(formula(row["numbers"]), []):
            same = abs(volume / other_volume - 1) < 0.002
            assert not (same and np.allclose(contacts, other, rtol=0.002)), row["id"]
        seen.setdefault(formula(row["numbers"]), []).append((volume, contacts))


@needs_tools
def test_ionic_routes_are_charge_balanced():
    """Some choice of known oxidation states adds up to zero for every ionic crystal."""
    from atomprint.data.sources.generated.chemistry import load_chemistry

    states: dict[int, set[int]] = {}
    chemistry = load_chemistry()
    for sp in chemistry.species:
        states.setdefault(chemistry.number[sp.symbol], set()).add(sp.charge)
    checked = 0
    for row in corpus():
        if row["route"] == "intermetallic":
            continue
        totals = {0}
        for z, n in Counter(row["numbers"]).items():
            totals = {t + n * q for t in totals for q in states[z]}
        assert 0 in totals, (row["id"], row["route"], row["prototype"])
        checked += 1
    assert checked > 1000


@pytest.mark.slow
@needs_tools
def test_generation_is_deterministic():
    settings = GeneratorSettings(n_crystals=12, seed=3, batch=24, n_steps=20, max_atoms=12)
    first, second = list(generate(settings)), list(generate(settings))
    other = list(generate(settings.model_copy(update={"seed": 4})))
    assert len(first) == 12
    for a, b in zip(first, second, strict=True):
        assert a.id == b.id
        assert a.prototype == b.prototype
        np.testing.assert_array_equal(a.numbers, b.numbers)
        np.testing.assert_array_equal(a.cell, b.cell)
        np.testing.assert_array_equal(a.frac, b.frac)
    assert [a.prototype for a in first] != [c.prototype for c in other]


@needs_tools
def test_written_file_holds_the_generated_crystals(tmp_path):
    settings = GeneratorSettings(n_crystals=5, seed=1, batch=16, n_steps=20, max_atoms=12)
    seen: list[int] = []
    path = write_corpus(tmp_path / "small.parquet", settings, progress=seen.append)
    rows = pq.read_table(path).to_pylist()
    assert seen == [1, 2, 3, 4, 5]
    for row, crystal in zip(rows, generate(settings), strict=True):
        assert row["id"] == crystal.id
        assert row["numbers"] == crystal.numbers.tolist()
        np.testing.assert_array_equal(np.float32(row["frac"]), crystal.frac.ravel())
        np.testing.assert_array_equal(np.float32(row["cell"]), crystal.cell.ravel())


def test_generating_without_pymatgen_says_what_to_install(monkeypatch):
    monkeypatch.setattr("atomprint.data.sources.generated.generator.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install atomprint\[generate\]"):
        next(generate(GeneratorSettings(n_crystals=1)))


def test_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="n_crystal"):
        GeneratorSettings(n_crystal=3)


def rock_salt(a: float) -> Draft:
    """MgO: charges 2 and -2, six-fold coordination, sizes of O'Keeffe and Brese."""
    half = 0.5 * a * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    return Draft(
        cell=half,
        frac=np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
        charge=np.array([2.0, -2.0]),
        radius=np.array([1.0, 1.0]),
        bond_r=np.array([1.21, 0.63]),
        bond_c=np.array([1.28, 3.15]),
        strength=np.array([1.0 / 3.0, 0.0]),
    )


@pytest.mark.parametrize("reach", [1.6, 2.3, 3.1, 3.9, 4.7, 6.0])
def test_periodic_pairs_match_brute_force(reach):
    rng = np.random.default_rng(0)
    for _ in range(5):
        cell = np.diag([2.6, 3.2, 4.5]) + rng.normal(0.0, 0.5, (3, 3))
        frac = rng.random((5, 3))
        _, _, _, found = periodic_pairs(cell, frac, reach)
        every = brute_force_distances(cell, frac, reach + 1.0)
        # each pair once here, twice there
        expected = np.sort(every[every < reach])
        np.testing.assert_allclose(np.sort(np.repeat(found, 2)), expected, atol=1e-10)


# Of P2_1/m: a screw axis, an inversion and a mirror.
ROTATIONS = np.array([np.diag(row) for row in ([1, 1, 1], [-1, 1, -1], [-1, -1, -1], [1, -1, 1])])
ROTATIONS = ROTATIONS.astype(float)
TRANSLATIONS = np.array([[0, 0, 0], [0, 0.5, 0], [0, 0, 0], [0, 0.5, 0]])


@pytest.mark.parametrize(
    ("point", "n_images"),
    [
        ([0.13, 0.41, 0.77], 4),
        ([0.13, 0.25, 0.77], 2),  # on the mirror
        ([0.5, 0.0, 0.5], 2),  # on an inversion centre
        ([0.13, 0.2503, 0.77], 2),  # within a thousandth of it
        ([0.9996, 0.0003, 0.0002], 2),  # and of a centre, across the cell's border
    ],
)
def test_orbits_have_every_image_once(point, n_images):
    orbit = orbit_of(np.array(point), ROTATIONS, TRANSLATIONS)
    assert len(orbit) == n_images
    assert ((orbit >= 0) & (orbit < 1)).all()
    every = (np.array(point) @ ROTATIONS + TRANSLATIONS) % 1.0
    gaps = np.abs((every[:, None] - orbit + 0.5) % 1.0 - 0.5).max(axis=2)
    assert (gaps.min(axis=1) < 1e-3).all()


def test_points_are_brought_where_an_operation_leaves_them():
    point, fixed = np.array([0.13, 0.41, 0.77]), np.empty(3)
    for k, wanted in ((0, point), (2, [0.0, 0.5, 1.0]), (3, [0.13, 0.25, 0.77])):
        assert fix(point, ROTATIONS[k], TRANSLATIONS[k], fixed)
        np.testing.assert_allclose(fixed, wanted, atol=1e-12)
    # A screw axis leaves no point.
    assert not fix(point, ROTATIONS[1], TRANSLATIONS[1], fixed)
    # A threefold axis whose three images are brought together by lattice translations.
    threefold = np.array([[0.0, 1, 0], [-1, -1, 0], [0, 0, 1]])
    assert fix(np.array([0.6, 0.3, 0.2]), threefold, np.zeros(3), fixed)
    moved = fixed @ threefold - fixed
    np.testing.assert_allclose(moved, np.round(moved), atol=1e-12)


def test_relaxation_satisfies_bond_valences_and_keeps_symmetry():
    relaxed = relax([rock_salt(5.0)], n_steps=400, repulsion=0.0, evenness=0.0)[0]
    sums = bond_valence_sums(bonds_of(relaxed), len(relaxed.frac))
    np.testing.assert_allclose(sums, 2.0, atol=0.02)
    lengths = np.linalg.norm(relaxed.cell, axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-6)
    np.testing.assert_allclose((relaxed.frac[1] - relaxed.frac[0]) % 1.0, 0.5, atol=1e-6)


def test_relaxation_goes_down_alone_or_in_a_batch():
    alone = relax([rock_salt(4.6)], n_steps=60)[0]
    together = relax([rock_salt(5.2), rock_salt(4.6)], n_steps=60)[1]
    np.testing.assert_allclose(alone.cell, together.cell, atol=1e-9)


def test_metals_keep_their_volume_and_lose_overlaps():
    frac = np.array([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0]])
    zero = np.zeros(2)
    draft = Draft(np.diag([5.0, 3.0, 3.0]), frac, zero, np.array([1.2, 1.2]), zero, zero, zero)
    relaxed = relax([draft], n_steps=200)[0]
    assert relaxed.volume == pytest.approx(draft.volume, rel=1e-9)
    before = periodic_pairs(draft.cell, draft.frac, 4.0)[3].min()
    after = periodic_pairs(relaxed.cell, relaxed.frac, 4.0)[3].min()
    assert before == pytest.approx(1.5)
    assert after > 2.2


@needs_tools
def test_one_route_alone_gives_more_than_classes_have_room_for() -> None:
    """Substitution makes no metals, which are a third of the corpus: it went on for ever."""
    settings = GeneratorSettings(n_crystals=160, route_share={"substitution": 1.0}, max_atoms=10)
    assert len(list(generate(settings))) == 160


@needs_tools
def test_only_what_may_be_kept_is_relaxed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is of a full class, nor what is left of the last batch."""
    relaxed = 0

    def counted(drafts, **options):
        nonlocal relaxed
        relaxed += len(drafts)
        return relax(drafts, **options)

    monkeypatch.setattr(generator, "relax", counted)
    rejected: Counter[str] = Counter()
    settings = GeneratorSettings(n_crystals=60, seed=1, route_share={"substitution": 1.0})
    made = list(generate(settings, rejected=rejected))
    assert rejected["too many of its class"] > 0
    assert relaxed == len(made) + rejected["implausible"] + rejected["made before"]


@needs_tools
def test_tiny_cells_are_made_without_the_routes_that_cannot() -> None:
    """Searched and ordered crystals have three atoms or more: drawing them went on for ever."""
    crystals = list(generate(GeneratorSettings(n_crystals=60, max_atoms=2, batch=24)))
    assert {crystal.route for crystal in crystals} <= {
        "substitution", "charge-balanced", "intermetallic",
    }  # fmt: skip
    assert max(len(crystal.numbers) for crystal in crystals) <= 2


@needs_tools
def test_settings_that_allow_nothing_are_refused() -> None:
    settings = GeneratorSettings(n_crystals=5, max_atoms=2, route_share={"search": 1.0})
    with pytest.raises(UsageError, match="max_atoms=2"):
        next(generate(settings))


@needs_tools
def test_when_there_is_nothing_new_any_more_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "_is_new", lambda *_: False)
    settings = GeneratorSettings(n_crystals=5, max_atoms=4, batch=4, n_steps=0)
    with pytest.raises(UsageError, match="nothing new in 200 candidates after 0"):
        next(generate(settings))


@needs_tools
def test_metals_of_large_atoms_are_drafted_too():
    """The nearest neighbors of caesium are 5.2 Å away."""
    from atomprint.data.sources.generated.chemistry import load_chemistry
    from atomprint.data.sources.generated.decoration import Decorator

    chemistry = load_chemistry()
    decorator = Decorator(chemistry, [], np.random.default_rng(0), 8, 1)
    caesium = np.array([chemistry.index["Cs"]])
    body_centred = 0.5 * np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]])
    draft = decorator.metal_draft(body_centred, np.zeros((1, 3)), caesium)
    # 110 Å³ an atom at low temperature; data-mined radii are of compounds, and smaller.
    assert abs(np.linalg.det(draft.cell)) == pytest.approx(110, rel=0.35)
