"""Layers and surfaces: ASE's own writer makes the files, and ASE's numbers come back."""

import hashlib
import io
import json

import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import add_adsorbate, fcc111, mx2

from atomprint.evaluation.tasks import find_task, load_task
from atomprint.evaluation.tasks.slabs import read_adsorption, read_layers
from atomprint.evaluation.tasks.task import Task
from atomprint.ground.errors import DataError
from atomprint.ground.settings import validate


@pytest.fixture
def layers(tmp_path):
    """Three layers as C2DB has them: periodic in the plane, a cell with vacuum."""
    path = tmp_path / "c2db.db"
    made = [mx2(formula, vacuum=7.5) for formula in ("MoS2", "WS2", "MoSe2", "WSe2")]
    with ase.db.connect(path) as database:
        for number, atoms in enumerate(made):
            assert atoms.pbc.tolist() == [True, True, False]
            keys = {} if number == 3 else {"workfunction": 5.0 + number}
            database.write(atoms, uid=f"layer-{number}", **keys)
        # Without a third vector there is no vacuum to stand for it.
        database.write(made[0], uid="layer-0", workfunction=9.0)
        flat = made[0].copy()
        flat.cell[2] = 0
        database.write(flat, uid="flat", workfunction=4.0)
    return path, made


def test_layers_keep_their_cell_and_property(layers):
    path, made = layers
    pairs, notes = read_layers(path, "workfunction")
    assert [c.id for c, _ in pairs] == ["layer-0", "layer-1", "layer-2"]
    assert [value for _, value in pairs] == [5.0, 6.0, 7.0]
    for (crystal, _), atoms in zip(pairs, made, strict=False):
        assert crystal.numbers.tolist() == atoms.numbers.tolist()
        np.testing.assert_allclose(crystal.cell, atoms.cell.array)
        np.testing.assert_allclose(crystal.positions, atoms.positions, atol=1e-9)
    assert "vacuum" in notes[0]
    assert "2 entries of c2db.db are left out; the first: layer-0 has the id of an" in notes[1]


def test_c2db_is_a_task(layers, tmp_path):
    found = load_task(find_task("c2db_work_function"), tmp_path)
    assert [dict(c.labels) for c in found.crystals] == [
        {"work_function": 5.0 + i} for i in range(3)
    ]
    assert found.target.unit == "eV"
    assert any("C2DB grows" in note for note in found.notes)


def test_what_is_no_database_of_layers_is_refused(tmp_path, layers):
    (tmp_path / "other.db").write_text("no database")
    with pytest.raises(DataError, match=r"other\.db: is no ASE database"):
        read_layers(tmp_path / "other.db", "workfunction")
    with pytest.raises(DataError, match="no crystal has the property"):
        read_layers(layers[0], "gap")


def as_json(atoms):
    buffer = io.StringIO()
    ase.io.write(buffer, atoms, format="json")
    return buffer.getvalue()


def reaction(metal, adsorbate, energy):
    bare = fcc111(metal, size=(2, 2, 3), vacuum=7.0)
    full = bare.copy()
    add_adsorbate(full, adsorbate, 1.2, "ontop")
    parts = {
        "star": {"atoms_json": as_json(bare), "energy_ref": -1.0, "stoi": -1},
        f"{adsorbate}star": {"atoms_json": as_json(full), "energy_ref": -2.0, "stoi": 1},
        f"{adsorbate}2gas": {"atoms_json": as_json(full[-1:]), "energy_ref": -3.0, "stoi": -0.5},
    }
    return full, {"raw": parts, "ref_ads_eng": energy, "adsorbate_indices": [len(bare)]}


@pytest.fixture
def reactions(tmp_path):
    made = {
        name: reaction(metal, adsorbate, energy)
        for name, metal, adsorbate, energy in [
            ("Pt12_H_top", "Pt", "H", -0.4),
            ("Cu12_O_top", "Cu", "O", 0.7),
            ("Ag12_N_top", "Ag", "N", None),
        ]
    }
    path = tmp_path / "MamunHighT2019_adsorption.json"
    path.write_text(json.dumps({name: entry for name, (_, entry) in made.items()}))
    return path, {name: atoms for name, (atoms, _) in made.items()}


def test_the_crystal_of_a_reaction_is_the_surface_with_what_is_on_it(reactions):
    path, made = reactions
    pairs, notes = read_adsorption(path, "ref_ads_eng")
    assert [(c.id, value) for c, value in pairs] == [("Pt12_H_top", -0.4), ("Cu12_O_top", 0.7)]
    for crystal, _ in pairs:
        atoms = made[crystal.id]
        assert crystal.numbers.tolist() == atoms.numbers.tolist()
        np.testing.assert_allclose(crystal.positions, atoms.positions, atol=1e-9)
    assert "the first: Ag12_N_top has no number" in notes[1]


def test_only_a_file_with_the_stated_checksum_is_a_task(reactions, tmp_path):
    task = find_task("surface_adsorption")
    with pytest.raises(DataError, match="checksum is not that of the source's file"):
        load_task(task, tmp_path)
    digest = hashlib.md5(reactions[0].read_bytes()).hexdigest()
    mine = validate(Task, task.model_dump() | {"md5": digest, "n_crystals": 2}, "test")
    assert [dict(c.labels) for c in load_task(mine, tmp_path).crystals] == [
        {"adsorption_energy": -0.4},
        {"adsorption_energy": 0.7},
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("ref_ads_eng", "energy"),
        lambda text: text.replace("atoms_json", "atoms"),
        lambda text: "[1, 2]",
    ],
)
def test_a_damaged_file_is_refused(reactions, damage):
    path, _ = reactions
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match="damaged, or not in the layout"):
        read_adsorption(path, "ref_ads_eng")


def test_a_reaction_with_two_products_is_left_out(reactions):
    path, _ = reactions
    content = json.loads(path.read_text())
    content["Pt12_H_top"]["raw"]["Ostar"] = content["Cu12_O_top"]["raw"]["Ostar"]
    path.write_text(json.dumps(content))
    pairs, notes = read_adsorption(path, "ref_ads_eng")
    assert [c.id for c, _ in pairs] == ["Cu12_O_top"]
    assert "Pt12_H_top has 2 products on the surface" in notes[1]
