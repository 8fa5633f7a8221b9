"""Molecules: RDKit reads back what was made, spglib finds the space group."""

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from atomprint.data.sources import MoleculesSettings, Surroundings
from atomprint.data.sources.molecules import source as module
from atomprint.data.sources.molecules.crystals import _SIGNS
from atomprint.ground.elements import covalent_radius
from atomprint.ground.errors import UsageError


@pytest.fixture(scope="module")
def made():
    pytest.importorskip("rdkit", reason="making molecules needs rdkit (atomprint[molecules])")
    from atomprint.data.sources.molecules.crystals import make_molecular

    return [make_molecular((3, k), 80, 0.25, 8.0, 1000, Counter()) for k in range(24)]


def bonds_of(cell):
    """Pairs of atoms that touch by covalent radii, with distances of all near pairs by radii."""
    atoms = Atoms(cell.numbers, cell.positions, cell=cell.cell, pbc=True)
    i, j, distance = neighbor_list("ijd", atoms, 3.2)
    ratio = distance / (covalent_radius[cell.numbers[i]] + covalent_radius[cell.numbers[j]])
    return i, j, ratio


def test_they_fall_into_as_many_molecules_as_there_are(made):
    for cell in made:
        i, j, ratio = bonds_of(cell)
        bonded = ratio < 1.25
        n = len(cell.numbers)
        links = coo_matrix((np.ones(bonded.sum()), (i[bonded], j[bonded])), shape=(n, n))
        assert connected_components(links)[0] == cell.n_molecules
        assert n == cell.n_molecules * len(cell.molecule.numbers)
        assert ratio.min() > 0.77  # a triple bond
        # between a bond and a contact there is a gap
        assert not ((ratio > 1.25) & (ratio < 1.35)).any()


def test_rdkit_reads_the_molecule_back(made):
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds
    from rdkit.Geometry import Point3D

    n_read = 0
    for cell in made:
        molecule = cell.molecule
        blank = Chem.RWMol()
        conformer = Chem.Conformer(len(molecule.numbers))
        for k, (z, at) in enumerate(zip(molecule.numbers, molecule.positions, strict=True)):
            blank.AddAtom(Chem.Atom(int(z)))
            conformer.SetAtomPosition(k, Point3D(*map(float, at)))
        blank.AddConformer(conformer)
        written = Chem.MolFromSmiles(molecule.smiles)
        assert Chem.GetFormalCharge(written) == 0
        assert "." not in molecule.smiles
        rdDetermineBonds.DetermineConnectivity(blank)
        drawn = Chem.AddHs(written)
        assert blank.GetNumBonds() == drawn.GetNumBonds()
        assert all(
            blank.GetBondBetweenAtoms(b.GetBeginAtomIdx(), b.GetEndAtomIdx())
            for b in drawn.GetBonds()
        )
        try:
            rdDetermineBonds.DetermineBonds(blank, charge=0)
        except ValueError:
            continue  # orders of bonds around nitro groups and the like are not always found
        read = Chem.MolToSmiles(Chem.RemoveHs(blank), isomericSmiles=False)
        assert read == Chem.MolToSmiles(written, isomericSmiles=False)
        n_read += 1
    assert n_read > 0.7 * len(made)


def test_crystals_have_the_symmetry_they_were_packed_with(made):
    """Relaxing can leave it, where a less symmetric packing is denser; most keep it."""
    spglib = pytest.importorskip("spglib")
    packed = [cell for cell in made if cell.group != "box"]
    assert len({cell.group for cell in packed}) > 2
    kept = 0
    for cell in packed:
        frac = np.linalg.solve(cell.cell.T, cell.positions.T).T
        found = spglib.get_symmetry((cell.cell, frac, cell.numbers), symprec=0.1)
        kept += len(found["rotations"]) >= len(_SIGNS[cell.group][2])
    assert kept > 0.7 * len(packed)


def test_a_box_leaves_room(made):
    boxes = [cell for cell in made if cell.group == "box"]
    assert boxes
    for cell in boxes:
        extent = np.ptp(cell.positions, axis=0)
        np.testing.assert_allclose(np.diag(cell.cell) - extent, 8.0, atol=1e-3)


def test_densities_are_those_of_organic_crystals(made):
    """About 18 Å³ for an atom that is no hydrogen (Kempster and Lipson, Acta Cryst. B 28, 3674)."""
    per_atom = [
        abs(np.linalg.det(cell.cell)) / (cell.numbers > 1).sum()
        for cell in made
        if cell.group != "box"
    ]
    assert 14 < np.median(per_atom) < 24


def test_a_cell_is_a_function_of_seed_and_number(made):
    from atomprint.data.sources.molecules.crystals import make_molecular

    again = make_molecular((3, 7), 80, 0.25, 8.0, 1000, Counter())
    np.testing.assert_array_equal(again.positions, made[7].positions)
    assert len({cell.molecule.smiles for cell in made}) > 20


def test_it_goes_on_where_it_stood(get, tmp_path, monkeypatch):
    pytest.importorskip("rdkit", reason="making molecules needs rdkit (atomprint[molecules])")
    monkeypatch.setattr(module, "BLOCK", 2)
    source = MoleculesSettings(seed=5, max_atoms=40)
    get(source, tmp_path / "a", n=3)
    more = get(source, tmp_path / "a", n=4)
    assert (more.resumed, more.problems) == (3, [])
    whole = get(source, tmp_path / "b", n=4).store
    assert [c.id for c in more.store] == [f"mol-5-{row:07d}" for row in range(4)]
    for one, two in zip(more.store, whole, strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)


@pytest.mark.slow
def test_worker_processes_make_the_same(tmp_path):
    pytest.importorskip("rdkit", reason="making molecules needs rdkit (atomprint[molecules])")
    source = MoleculesSettings(seed=5, max_atoms=16, boxes=1)
    pages = source.pages(Surroundings(workers=2))
    page = list(next(pages).items)
    pages.close()
    assert len(page) == module.BLOCK
    for crystal, record in zip(page, source.block(0).records, strict=True):
        np.testing.assert_allclose(crystal.positions, record.positions, atol=1e-9)


def test_without_the_package_the_extra_is_named(get, tmp_path, monkeypatch):
    monkeypatch.setattr("atomprint.data.sources.blocks.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"atomprint\[molecules\]"):
        get(MoleculesSettings(), tmp_path / "s", n=2)
