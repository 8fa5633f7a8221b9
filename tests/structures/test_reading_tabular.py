"""One file with structures and labels: what a row says is what files and a table would say."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from pymatgen.core import Lattice, Structure

from atomprint.ground.errors import UsageError
from atomprint.structures.reading import read_crystals
from atomprint.structures.reading.labels import years_of
from atomprint.structures.reading.stream import CrystalStream
from tests.structures.crystal_files import POSCAR, write
from tests.toy import toy_crystals

N = 6


@pytest.fixture(scope="module")
def structures():
    """pymatgen's structures, by id, with site properties to be there in JSON."""
    return {
        c.id: Structure(Lattice(c.cell), c.numbers, c.positions, coords_are_cartesian=True)
        for c in toy_crystals(N)
    }


@pytest.fixture(scope="module")
def frame(structures):
    return pd.DataFrame(
        {
            "material_id": list(structures),
            "gap": [0.5 * i for i in range(N)],
            "who": ["Ann", "Bob"] * (N // 2),
            "found": [f"20{10 + i}-07-02" for i in range(N)],
        }
    )


def same_crystals(result, structures):
    """Whether the labels are the frame's and the crystals those of pymatgen."""
    assert not result.problems
    assert [c.id for c in result.crystals] == list(structures)
    for index, (crystal, one) in enumerate(zip(result.crystals, structures.values(), strict=True)):
        assert crystal.labels["gap"] == 0.5 * index
        # 2 July, midnight, is the middle of a year of 365 days, but for half a day.
        assert crystal.labels["found"] == pytest.approx(2010 + index + 0.5, abs=0.003)
        assert set(crystal.labels) == {"gap", "found"}
        found = Structure(
            Lattice(crystal.cell), crystal.numbers, crystal.positions, coords_are_cartesian=True
        )
        assert found.composition == one.composition
        assert found.volume == pytest.approx(one.volume, rel=1e-6)
        ours, theirs = (np.sort(s.distance_matrix, axis=None) for s in (found, one))
        assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "parquet"])
@pytest.mark.parametrize("kind", ["cif", "json", "printed", "poscar", "odd"])
def test_structures_in_a_table_of_pandas(tmp_path, structures, frame, ending, kind):
    texts = {
        "cif": lambda s: s.to(fmt="cif"),
        "json": lambda s: json.dumps(s.as_dict()),
        "printed": lambda s: str(json.loads(s.to_json())),
        "poscar": lambda s: s.to(fmt="poscar"),
        "odd": lambda s: s.to_json(),
    }
    name = {"cif": "cif", "odd": "what is in it"}.get(kind, "Structure")
    table = frame.assign(**{name: [texts[kind](s) for s in structures.values()]})
    path = tmp_path / f"mine.{ending}"
    if ending == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, sep="\t" if ending == "tsv" else ",", index=False)
    same_crystals(read_crystals(path), structures)


def test_dictionaries_in_parquet(tmp_path, structures, frame):
    table = frame.assign(structure=[json.loads(s.to_json()) for s in structures.values()])
    for one in table["structure"]:
        # Parquet takes no dictionary without a key.
        one.pop("properties", None)
        for site in one["sites"]:
            site.pop("properties", None)
    table.to_parquet(tmp_path / "mine.parquet")
    same_crystals(read_crystals(tmp_path / "mine.parquet"), structures)


@pytest.mark.parametrize("column", ["file", "Path", "cif"])
def test_names_of_files(tmp_path, structures, frame, column):
    (tmp_path / "all").mkdir()
    endings = ["cif", "json", "vasp"] * (N // 3)
    names = [f"all/{id}.{end}" for id, end in zip(structures, endings, strict=True)]
    for name, one in zip(names, structures.values(), strict=True):
        text = one.to(fmt={"cif": "cif", "json": "json", "vasp": "poscar"}[name.split(".")[-1]])
        (tmp_path / name).write_text(text)
    table = frame.drop(columns="material_id").assign(**{column: names})
    table.to_csv(tmp_path / "mine.csv", index=False)
    # The ids are the names of the files.
    same_crystals(read_crystals(tmp_path / "mine.csv"), structures)
    with CrystalStream(tmp_path / "mine.csv") as stream:
        assert [read.item.id for read in stream.read()] == list(structures)


def test_ids_are_those_of_the_index_or_numbers_of_rows(tmp_path, structures, frame):
    table = frame.drop(columns="material_id")
    table["cif"] = [s.to(fmt="cif") for s in structures.values()]
    table.to_csv(tmp_path / "mine.csv", index=False)
    table.set_index(pd.Index([f"mp-{i}" for i in range(N)])).to_csv(tmp_path / "index.csv")
    ids = [[c.id for c in read_crystals(tmp_path / f"{n}.csv").crystals] for n in ("mine", "index")]
    assert ids == [[f"mine#{i}" for i in range(N)], [f"mp-{i}" for i in range(N)]]


def test_an_id_of_the_table_goes_before_that_of_a_file(tmp_path, structures):
    one = json.loads(next(iter(structures.values())).to_json())
    write(tmp_path / "a.json", json.dumps({"structure": one, "material_id": "mp-7"}))
    write(tmp_path / "b.json", json.dumps(one))
    write(tmp_path / "named.csv", "id,file\nmine,a.json\n")
    write(tmp_path / "bare.csv", "file,gap\na.json,1\nb.json,2\n")
    ids = [[c.id for c in read_crystals(tmp_path / f).crystals] for f in ("named.csv", "bare.csv")]
    assert ids == [["mine"], ["mp-7", "b"]]


def test_rows_that_cannot_be_read_are_named(tmp_path):
    write(tmp_path / "two.xyz", "")
    frames = [Atoms("Cu", cell=np.eye(3) * a, pbc=True) for a in (3, 4)]
    frames[0].write(tmp_path / "two.xyz", format="extxyz")
    frames[1].write(tmp_path / "two.xyz", format="extxyz", append=True)
    rows = {
        "good": POSCAR,
        "empty": "",
        "words": "no structure at all",
        "gone": "gone.cif",
        "two": "two.xyz",
        "broken": "{'lattice': ",
        "printed": "Full Formula (Na1 Cl1)\nReduced Formula: NaCl",
        "twice": POSCAR,
    }
    with (tmp_path / "mine.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "structure", "gap"])
        table.writerows([id if id != "twice" else "good", text, 1] for id, text in rows.items())
    result = read_crystals(tmp_path / "mine.csv")
    assert [c.id for c in result.crystals] == ["good"]
    assert [(p.id, p.kind) for p in result.problems] == [
        ("empty", "empty"),
        ("words", "broken"),
        ("gone", "broken"),
        ("two", "broken"),
        ("broken", "broken"),
        ("printed", "broken"),
        ("good", "duplicate"),
    ]
    said = {p.id: p.reason for p in result.problems}
    assert "not there" in said["gone"]
    assert "2 crystals" in said["two"]
    assert "as_dict" in said["printed"]


def test_a_table_without_structures_is_refused_and_in_a_folder_passed_over(tmp_path, structures):
    labels = write(tmp_path / "labels.csv", "id,gap\na,1\n")
    result = read_crystals(labels)
    assert not result.crystals
    assert "call it structure or cif" in result.problems[0].reason
    write(tmp_path / "empty.csv", "id,cif\n")
    assert "no rows" in read_crystals(tmp_path / "empty.csv").problems[0].reason
    # A table beside the crystals that it names would give every crystal twice.
    one = next(iter(structures.values()))
    write(tmp_path / "both" / "a.cif", one.to(fmt="cif"))
    write(tmp_path / "both" / "mine.csv", "file,gap\na.cif,1\n")
    assert [c.id for c in read_crystals(tmp_path / "both").crystals] == ["a"]
    (tmp_path / "both" / "a.cif").unlink()
    with pytest.raises(UsageError, match="files of other types"):
        read_crystals(tmp_path / "both")


def test_large_cells_of_a_table(tmp_path):
    """More than the 131,072 characters that Python's csv takes by itself."""
    side = 12
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3) / side
    big = Structure(Lattice.cubic(40), ["Cu"] * len(grid), grid)
    text = big.to_json()
    assert len(text) > 131_072
    with (tmp_path / "mine.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "structure"], ["big", text]])
    assert read_crystals(tmp_path / "mine.csv").crystals[0].n_atoms == side**3


def test_dates_are_years():
    assert years_of("2019-01-01") == 2019
    assert years_of("2019-12-31T12:00:00") == pytest.approx(2020 - 0.5 / 365)
    # 2020 has 366 days, and 2 July begins with the 184th.
    assert years_of(" 2020-07-02 ") == 2020 + 183 / 366
    dates = ["1999-12-31", "2000-02-29", "2000-03-01", "2000-12-31 23:59:59+00:00", "2001-01-01"]
    years = [years_of(text) for text in dates]
    assert years == sorted(years)
    for text in ("2019", "2019-13-01", "2019-04-02x", "10.1/x", "20190402", "2019-04"):
        assert years_of(text) is None
