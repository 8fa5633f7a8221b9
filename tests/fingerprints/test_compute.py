"""The engine: the same numbers whatever the blocks, threads, order and kind of structure."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell, molecule

from atomprint.fingerprints import ADF, EAD, MBTR, RDF, SOAP
from atomprint.fingerprints import compute as engine
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from tests.toy import as_ase, toy_crystals

SMALL = SOAP(cutoff=4.0, n_max=3, l_max=2)
POOLS = ("mean", "sum", "variance", "third", "fourth")


def large_crystal(n=4):
    """A distorted supercell."""
    rng = np.random.default_rng(0)
    atoms = make_supercell(bulk("NaCl", "rocksalt", 5.6), n * np.eye(3, dtype=int))
    atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    return atoms


def close(a, b, tolerance=1e-10):
    scale = np.maximum(np.abs(b).max(axis=0), 1e-4 * np.abs(b).max())
    return (np.abs(a - b) <= tolerance * scale).all()


@pytest.mark.parametrize("path", ["fused", "reference"])
@pytest.mark.parametrize("per", ["atom", "crystal"])
def test_rows_are_those_of_the_graph(path, per):
    crystals = toy_crystals(9)
    for fp in (SMALL, RDF(), ADF(), EAD(), SOAP(cutoff=3.0, n_max=2, l_max=1, average="inner")):
        if path == "fused" and fp.with_per(per).kernel is None:
            continue
        graph = GraphBatch.from_crystals(crystals, fp.cutoff, torch.float64)
        wanted = fp.with_per(per).reference(graph).numpy()
        found = fp.compute([as_ase(c) for c in crystals], per=per, path=path)
        assert found.dtype == np.float64
        assert close(found, wanted)
        single = fp.compute(crystals, per=per, path=path, dtype="float32")
        assert single.dtype == np.float32
        assert close(single, wanted, 1e-5)


def test_one_structure_and_many():
    crystals = toy_crystals(3)
    alone = np.concatenate([SMALL.compute(c) for c in crystals])
    assert close(SMALL.compute(crystals), alone)
    assert SMALL.compute(crystals, per="crystal").shape == (3, SMALL.n_features)


@pytest.mark.parametrize(
    ("pool", "average"), [(("mean",), "outer"), (POOLS, "outer"), (("mean",), "inner")]
)
def test_a_small_memory_cuts_a_large_crystal_and_changes_nothing(pool, average, monkeypatch):
    fp = SOAP(cutoff=4.0, n_max=3, l_max=2, per="crystal", pool=pool, average=average)
    atoms = [large_crystal(), *map(as_ase, toy_crystals(4)), large_crystal(3)]
    crystals = engine.as_crystals(atoms, 1.0).crystals
    graph = GraphBatch.from_crystals(crystals, fp.cutoff, torch.float64)
    runs = []
    plan = engine.plan

    def counted(*args, **keywords):
        for run in plan(*args, **keywords):
            runs.append(run)
            yield run

    monkeypatch.setattr(engine, "plan", counted)
    found = fp.compute(atoms, memory=0.2)
    assert sum(run.is_cut and run.first == 0 for run in runs) > 5
    wanted = fp.reference(graph).numpy()
    n = len(fp.labels()) // len(pool)
    for k, name in enumerate(pool):
        # Moments of atoms that are alike are differences of nearly equal numbers.
        scale = np.abs(wanted[:, :n]).max() ** {"variance": 2, "third": 3, "fourth": 4}.get(name, 1)
        block = slice(k * n, (k + 1) * n)
        assert np.abs(found[:, block] - wanted[:, block]).max() < 1e-10 * scale
    atoms_rows = fp.compute(atoms, memory=0.2, per="atom")
    assert (atoms_rows == fp.compute(atoms, memory=1000, per="atom")).all()


def test_threads_change_no_bit():
    atoms = [large_crystal(3), *map(as_ase, toy_crystals(30))]
    for fp in (SMALL, RDF(), ADF(), EAD()):
        one = fp.compute(atoms, threads=1)
        assert (fp.compute(atoms, threads=3) == one).all()


@pytest.mark.parametrize("average", ["outer", "inner"])
def test_memory_bounds_what_is_held(average):
    import tracemalloc

    fp = SOAP(cutoff=5.0, n_max=3, l_max=2, per="crystal", average=average)
    atoms = large_crystal(8)
    fp.compute(atoms, memory=8)  # tables and compiled code are made once
    peaks = []
    for memory in (4, 64):
        tracemalloc.start()
        fp.compute(atoms, memory=memory, threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 6 * 2**20
    assert peaks[1] < 64 * 2**20


def test_several_from_one_list():
    crystals = toy_crystals(6)
    prints = [SMALL, RDF(), EAD()]
    together = engine.compute_many(prints, crystals, per="crystal")
    for fp, rows in zip(prints, together, strict=True):
        assert close(rows, fp.compute(crystals, per="crystal"))
    mixed = engine.compute_many([SMALL, MBTR()], crystals)
    assert [len(rows) for rows in mixed] == [sum(c.n_atoms for c in crystals), 6]


def test_pymatgen_structures():
    pymatgen = pytest.importorskip("pymatgen.core")
    crystals = toy_crystals(3)
    structures = [
        pymatgen.Structure(c.cell, c.numbers, c.positions, coords_are_cartesian=True)
        for c in crystals
    ]
    assert close(SMALL.compute(structures), SMALL.compute(crystals))
    water = molecule("H2O")
    plain = pymatgen.Molecule(water.symbols, water.positions)
    assert close(SMALL.compute(plain), SMALL.compute(water))
    mixed = pymatgen.Structure(np.eye(3) * 3, [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    with pytest.raises(DataError, match="partly occupied"):
        SMALL.compute([mixed])


def test_a_molecule_sees_itself_only():
    water = molecule("CH3CH2OH")
    boxed = water.copy()
    boxed.set_cell(np.eye(3) * 40)
    boxed.pbc = True
    wanted = SMALL.compute(boxed)
    assert close(SMALL.compute(water), wanted)
    water.set_cell([1.0, 1.0, 1.0])  # a cell that does not count, for it does not repeat
    assert close(SMALL.compute(water), wanted)
    assert SMALL.compute(Atoms("He"))[0, 0] > 0


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False)])
def test_partly_periodic(pbc):
    """A slab or a wire is the same as with much vacuum, whatever its cell says there."""
    slab = fcc111("Al", (1, 1, 3), vacuum=30.0)
    slab.set_cell([slab.cell[0], slab.cell[1] if pbc[1] else [5, 40, 0], slab.cell[2]])
    slab.rotate(35, (1, 2, 3), rotate_cell=True)
    filled = slab.copy()
    filled.pbc = True
    wanted = SMALL.compute(filled)
    slab.pbc = pbc
    assert close(SMALL.compute(slab), wanted)
    slab.cell[2] = 0
    assert close(SMALL.compute(slab), wanted)


def test_what_is_refused():
    fp = SMALL
    with pytest.raises(DataError, match="structure 1: has no atoms"):
        fp.compute([molecule("H2O"), Atoms()])
    with pytest.raises(DataError, match="0 is no atomic number"):
        fp.compute(Atoms("X", cell=[3, 3, 3], pbc=True))
    with pytest.raises(DataError, match="the cell is flat"):
        fp.compute(Atoms("H", cell=[3, 3, 0], pbc=True))
    with pytest.raises(DataError, match="not a finite number"):
        fp.compute(Atoms("H", [[np.nan, 0, 0]], cell=[3, 3, 3], pbc=True))
    with pytest.raises(UsageError, match="str is no structure"):
        fp.compute("POSCAR")
    with pytest.raises(UsageError, match="structure 0: int is no structure"):
        fp.compute([3])
    with pytest.raises(UsageError, match="empty"):
        fp.compute([])
    with pytest.raises(UsageError, match="no density"):
        RDF().compute(molecule("H2O"))
    assert RDF(normalize="count").compute(molecule("H2O")).sum() > 0
    with pytest.raises(UsageError, match="have no fused kernel"):
        MBTR().compute(bulk("Cu"), path="fused")
    with pytest.raises(UsageError, match=r"called with Atoms, not with a GraphBatch; compute"):
        fp(bulk("Cu"))
    for wrong in ({"threads": 0}, {"memory": -1}, {"dtype": "float16"}, {"path": "gpu"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            fp.compute(bulk("Cu"), **wrong)
    species = SOAP(cutoff=3.0, n_max=2, l_max=1, resolution="full", species=("H", "O"))
    with pytest.raises(UsageError, match="Cu"):
        species.compute(bulk("Cu"))


def test_float_types_by_any_name():
    for dtype in ("float32", np.float32, np.dtype("float32"), torch.float32):
        assert SMALL.compute(bulk("Cu"), dtype=dtype).dtype == np.float32
    with pytest.raises(UsageError, match="dtype 'int64' is not known"):
        SMALL.compute(bulk("Cu"), dtype=int)


def test_the_structures_are_left_as_they_are():
    atoms = molecule("H2O")
    before = atoms.copy()
    SMALL.compute(atoms)
    assert atoms == before
    crystal = toy_crystals(1)[0]
    positions = crystal.positions.copy()
    SMALL.compute(Crystal(crystal.id, crystal.numbers, crystal.positions, crystal.cell))
    assert (crystal.positions == positions).all()
