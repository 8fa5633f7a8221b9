"""Built-in tasks: found by name, read from disk, refused with a sentence that helps."""

import gzip
import hashlib
import json
import os
import subprocess

import numpy as np
import pytest

from atomprint.evaluation.tasks import built_in_tasks, find_task, load_task, official_folds
from atomprint.evaluation.tasks.folds import checksum, folds_of
from atomprint.evaluation.tasks.matbench_file import read_matbench_file
from atomprint.evaluation.tasks.places import data_folders
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import validate
from atomprint.structures.writing import write_parquet
from tests.evaluation.matbench_toy import split_table, toy_task, write_toy
from tests.toy import toy_crystals


@pytest.fixture
def toy(tmp_path):
    """A small MatBench set, and its file."""
    crystals = toy_crystals(12)
    task = toy_task(crystals)
    write_toy(tmp_path / task.files[0].name, crystals)
    return task, crystals, tmp_path


def test_all_nine_structure_sets_of_matbench_and_their_sizes_are_there():
    sizes = {task.name: task.n_crystals for task in built_in_tasks() if task.has_official_folds}
    assert sizes == {
        "jdft2d": 636, "phonons": 1265, "dielectric": 4764, "log_gvrh": 10987, "log_kvrh": 10987,
        "perovskites": 18928, "mp_gap": 106113, "mp_e_form": 132752, "mp_is_metal": 106113,
    }  # fmt: skip
    assert [task.name for task in built_in_tasks() if task.classification] == ["mp_is_metal"]


def test_names_are_unique_and_every_task_says_where_it_is_from():
    names = [task.name for task in built_in_tasks()]
    assert len(set(names)) == len(names)
    for task in built_in_tasks():
        assert task.source
        assert task.licence
        assert task.citation
        assert bool(task.url) == bool(task.sha256 or task.md5)
        assert not task.has_official_folds or task.sha256
        assert task.metric == ("ROC-AUC error" if task.classification else "MAE")


def test_ids_have_as_many_digits_as_matbench_gives_them():
    assert find_task("phonons").crystal_id(0) == "mb-phonons-0001"
    assert find_task("jdft2d").crystal_id(635) == "mb-jdft2d-636"
    assert find_task("mp_is_metal").crystal_id(8) == "mb-mp-is-metal-000009"
    with pytest.raises(UsageError, match="none of MatBench's"):
        find_task("band_gap").crystal_id(0)


def test_a_task_is_found_by_either_name_and_a_slip_is_understood():
    assert find_task("Matbench_Phonons") is find_task("phonons")
    assert find_task("mp-e-form").name == "mp_e_form"
    with pytest.raises(UsageError, match="did you mean 'phonons'"):
        find_task("phonon")
    with pytest.raises(UsageError, match="there are: jdft2d, phonons"):
        find_task("xyzzy")


def test_matbench_files_are_read_in_their_order_with_matbench_ids(toy):
    task, crystals, folder = toy
    data = load_task(task, folder)
    assert [c.id for c in data.crystals] == [f"mb-toy-{k:02d}" for k in range(1, 13)]
    assert data.target.name == "peak"
    assert data.notes == []
    for read, wanted in zip(data.crystals, crystals, strict=True):
        assert (read.numbers == wanted.numbers).all()
        np.testing.assert_allclose(read.cell, wanted.cell)
        np.testing.assert_allclose(read.positions, wanted.positions, atol=1e-9)
        assert dict(read.labels) == {"peak": wanted.labels["energy"]}


def test_pymatgen_reads_the_same_crystals_from_the_same_file(toy):
    core = pytest.importorskip("pymatgen.core", reason="pymatgen, the judge, is not installed")
    task, _, folder = toy
    data = load_task(task, folder)
    with gzip.open(folder / task.files[0].name, "rt") as file:
        rows = json.load(file)["data"]
    for crystal, (structure, _) in zip(data.crystals, rows, strict=True):
        judged = core.Structure.from_dict(structure)
        assert list(judged.atomic_numbers) == crystal.numbers.tolist()
        np.testing.assert_allclose(judged.cart_coords, crystal.positions, atol=1e-9)
        np.testing.assert_allclose(judged.lattice.matrix, crystal.cell)


def test_files_of_matminers_own_writer_are_read(tmp_path):
    python = os.environ.get("ATOMPRINT_MATBENCH_PYTHON")
    if not python:
        pytest.skip("ATOMPRINT_MATBENCH_PYTHON names no Python that has matminer")
    program = """
import sys
import pandas
from matminer.utils.io import store_dataframe_as_json
from pymatgen.core import Lattice, Structure
made = [
    Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64 + 0.1 * i), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    for i in range(12)
]
made[3].add_oxidation_state_by_element({"Na": 1, "Cl": -1})
frame = pandas.DataFrame({"structure": made, "is_metal": [i % 3 == 0 for i in range(12)]})
store_dataframe_as_json(frame, sys.argv[1], compression="gz", pbar=False)
"""
    path = tmp_path / "written.json.gz"
    subprocess.run([python, "-c", program, path], check=True, capture_output=True)
    pairs, notes = read_matbench_file(path, "is_metal", 12)
    assert [value for _, value in pairs] == [float(i % 3 == 0) for i in range(12)]
    assert notes == []
    for i, (crystal, _) in enumerate(pairs):
        assert crystal.numbers.tolist() == [11] * 4 + [17] * 4
        assert crystal.volume == pytest.approx((5.64 + 0.1 * i) ** 3)


def test_pieces_of_any_size_give_the_same_crystals(toy, monkeypatch):
    task, _, folder = toy
    whole = load_task(task, folder)
    for size in (1, 7, 64):
        monkeypatch.setattr("atomprint.structures.reading.json_stream._CHUNK", size)
        parts = load_task(task, folder)
        for one, other in zip(whole.crystals, parts.crystals, strict=True):
            assert (one.positions == other.positions).all()
            assert dict(one.labels) == dict(other.labels)


def test_an_implausible_crystal_is_kept_and_named(tmp_path):
    crystals = toy_crystals(12)
    task = toy_task(crystals)
    table = split_table(crystals)
    sites = table["data"][3][0]["sites"]
    sites.append({**sites[0], "abc": [x + 1e-3 for x in sites[0]["abc"]]})
    write_toy(tmp_path / task.files[0].name, table=table)
    data = load_task(task, tmp_path)
    assert data.crystals[3].n_atoms == crystals[3].n_atoms + 1
    assert len(data.notes) == 1
    assert "crystal 3 of matbench_toy.json.gz looks implausible" in data.notes[0]


def change(**top):
    return lambda table: {**table, **top}


def without_row(table):
    return {**table, "index": table["index"][:-1], "data": table["data"][:-1]}


def swapped(table):
    rows = table["data"]
    return {**table, "data": [rows[1], rows[0], *rows[2:]]}


def cell_of(row, value):
    def do(table):
        rows = [[structure, label] for structure, label in table["data"]]
        rows[row][1] = value
        return {**table, "data": rows}

    return do


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change(columns=["structure", "other"]), "has no column 'peak'"),
        (change(columns=["composition", "peak"]), "no column 'structure'"),
        (change(index=list(range(1, 13))), "not numbered 0, 1"),
        (change(data=3), "not in MatBench's layout"),
        (without_row, "11 crystals .* has 12"),
        (swapped, "another order"),
        (cell_of(2, "high"), "row 2 has no number .* 'high'"),
        (cell_of(2, 1e6), "these are other labels"),
        (cell_of(2, None), "row 2 has no number"),
    ],
)
def test_a_file_that_is_not_matbenchs_is_refused(tmp_path, damage, message):
    crystals = toy_crystals(12)
    task = toy_task(crystals)
    write_toy(tmp_path / task.files[0].name, table=damage(split_table(crystals)))
    with pytest.raises(DataError, match=message):
        load_task(task, tmp_path)


def test_a_damaged_file_is_refused(toy):
    task, _, folder = toy
    path = folder / task.files[0].name
    complete = path.read_bytes()
    path.write_bytes(complete[: len(complete) // 2])
    with pytest.raises(DataError, match="get it again"):
        load_task(task, folder)
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match="no gzip file"):
        load_task(task, folder)


def test_a_file_with_another_checksum_is_refused(toy):
    task, _, folder = toy
    path = folder / task.files[0].name
    right = task.model_copy(update={"sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    assert len(load_task(right, folder).crystals) == 12
    wrong = task.model_copy(update={"sha256": "0" * 64, "url": "https://example.org/toy"})
    with pytest.raises(DataError, match=r"checksum is not .* https://example\.org/toy"):
        load_task(wrong, folder)


def test_other_sets_keep_their_ids_and_say_what_is_missing(tmp_path):
    entry = find_task("bulk_modulus").model_dump() | {"n_crystals": 3}
    task = validate(type(find_task("phonons")), entry, "test")
    crystals = [
        crystal.with_labels({"bulk_modulus_vrh": value} if value is not None else {})
        for crystal, value in zip(toy_crystals(4), (100.0, 10.0, -1.0, None), strict=True)
    ]
    write_parquet(tmp_path / "mp_elastic.parquet", crystals, {})
    data = load_task(task, tmp_path)
    assert [c.id for c in data.crystals] == [c.id for c in crystals[:2]]
    assert [dict(c.labels) for c in data.crystals] == [
        {"log10_bulk_modulus": 2.0}, {"log10_bulk_modulus": 1.0},
    ]  # fmt: skip
    assert any("2 crystals without a bulk_modulus_vrh above zero" in note for note in data.notes)
    assert any("2 crystals, not 3" in note for note in data.notes)


def test_a_missing_file_is_asked_for_by_name_address_and_place(tmp_path):
    with pytest.raises(UsageError) as error:
        load_task(find_task("dielectric"), tmp_path)
    for part in (
        "matbench_dielectric.json.gz", str(tmp_path), "atomprint tasks --download dielectric",
        "https://ml.materialsproject.org/projects/matbench_dielectric.json.gz",
    ):  # fmt: skip
        assert part in str(error.value)
    with pytest.raises(UsageError, match=r"qmof\.parquet.*cannot be downloaded.*ATOMPRINT_DATA"):
        load_task(find_task("qmof_gap"), tmp_path)


def test_folders_are_the_one_named_or_the_variable_and_the_cache(toy, tmp_path, monkeypatch):
    task, _, folder = toy
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ATOMPRINT_DATA", raising=False)
    cache = data_folders()
    assert len(cache) == 1
    with pytest.raises(UsageError, match="needs the file"):
        load_task(task)
    monkeypatch.setenv("ATOMPRINT_DATA", str(folder))
    assert data_folders() == [folder, *cache]
    assert len(load_task(task).crystals) == 12
    other = tmp_path / "other"
    other.mkdir()
    assert data_folders(other) == [other]
    monkeypatch.setenv("ATOMPRINT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"'.*nowhere', ATOMPRINT_DATA, is no folder"):
        load_task(task)


def test_the_own_file_of_matbench_is_preferred(tmp_path):
    crystals = toy_crystals(12)
    task = toy_task(crystals)
    second = {"name": "toy.parquet", "column": "energy", "note": "not MatBench's own"}
    task = validate(type(task), task.model_dump() | {"files": [*task.files, second]}, "test")
    write_parquet(tmp_path / "toy.parquet", crystals, {})
    data = load_task(task, tmp_path)
    assert data.notes == ["not MatBench's own"]
    assert data.crystals[0].id == "mb-toy-01"
    write_toy(tmp_path / task.files[0].name, crystals)
    assert load_task(task, tmp_path).notes == []


def test_folds_need_all_crystals_in_order_with_matbench_ids(toy):
    task, _, folder = toy
    data = load_task(task, folder)
    folds = official_folds(task, data.crystals)
    assert sorted(int(i) for _, test in folds for i in test) == list(range(12))
    with pytest.raises(DataError, match="11 crystals, but matbench_toy has 12"):
        official_folds(task, data.crystals[:-1])
    with pytest.raises(DataError, match="crystal 0 is 'mb-toy-12'"):
        official_folds(task, data.crystals[::-1])
    with pytest.raises(UsageError, match="no official folds"):
        official_folds(find_task("band_gap"), data.crystals)


def test_folds_that_are_not_the_published_ones_are_refused(toy):
    task, _, folder = toy
    data = load_task(task, folder)
    changed = task.model_copy(update={"folds_sha256": "0" * 64})
    with pytest.raises(DataError, match="do not come out as matbench_toy publishes them"):
        official_folds(changed, data.crystals)
    assert checksum(task, folds_of(task)) == task.folds_sha256
