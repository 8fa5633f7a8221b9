"""Whatever bytes a file holds, reading ends in crystals, named problems or an AtomprintError."""

import contextlib
import gzip
import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from ase.build import bulk
from ase.db import connect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atomprint.ground.errors import AtomprintError
from atomprint.structures.reading import KINDS, read_crystals
from tests.structures.crystal_files import EXTXYZ, NACL_CIF, POSCAR, as_json, cif, structure_dict
from tests.structures.test_reading_formats import table

OPERATIONS = ("x,y,z", "-x,-y,z", "-x,y,-z+1/2", "x,-y,-z+1/2")
RICH_CIF = cif(
    "Fe1 Fe 0.1(1) 0.2 .25 1\nO1 O2- 0.5 0.5 0.5 1.0",
    "label type_symbol fract_x fract_y fract_z occupancy",
    cell=(5, 6, 7, 90, 90, 90),
    head="_chemical_formula_sum 'Fe4 O4'\n_cell_formula_units_Z 1\n_cell_volume 210",
    operations=OPERATIONS,
)


def parquet_bytes():
    sink = io.BytesIO()
    pq.write_table(table(gap=[1.0, 2.0], text=["a", "b"]), sink)
    return sink.getvalue()


def database_bytes():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        with connect(str(path)) as database:
            database.write(bulk("Cu"), gap=1.0, data={"x": [1, 2]})
        return path.read_bytes()


def archive_bytes(kind):
    sink = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.cif", NACL_CIF)
            archive.writestr("id_prop.csv", "a,1\n")
    else:
        with tarfile.open(fileobj=sink, mode="w:gz" if kind == "tar.gz" else "w") as archive:
            info = tarfile.TarInfo("a.cif")
            info.size = len(NACL_CIF)
            archive.addfile(info, io.BytesIO(NACL_CIF.encode()))
    return sink.getvalue()


SEEDS = {
    "a.cif": [NACL_CIF.encode(), RICH_CIF.encode()],
    "POSCAR": [POSCAR.encode()],
    "a.xyz": [EXTXYZ.encode()],
    "a.xyz.gz": [gzip.compress(EXTXYZ.encode())],
    "a.json": [as_json(structure_dict()).encode(), as_json({"a": structure_dict()}).encode()],
    "a.parquet": [parquet_bytes()],
    "a.db": [database_bytes()],
    "a.zip": [archive_bytes("zip")],
    "a.tar": [archive_bytes("tar")],
    "a.tar.gz": [archive_bytes("tar.gz")],
    "id_prop.csv": [b"good,1,2\nb,<1E-10,3\n", b"id,gap\ngood,1\n"],
}
TOKENS = [
    b"nan", b"inf", b"-1", b"0", b"1e308", b"-1e-320", b"99999999999999999999", b"?", b".", b"'",
    b'"', b";", b"\n", b"\x00", b"\xff\xfe", b"loop_", b"data_", b"[", b"{", b"x,y,z", b"null",
    b"true", b"1/0", b"-x+1/7", b"\xc3\xa5", b" ", b",", b"0.5", b"#",
]  # fmt: skip


@st.composite
def mutated(draw, seeds):
    """A sound file with some pieces replaced, removed, repeated or cut off."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        span = draw(st.integers(0, 12))
        action = draw(st.sampled_from(["token", "bytes", "cut", "drop", "repeat", "line"]))
        if action == "token":
            data = data[:at] + draw(st.sampled_from(TOKENS)) + data[at + span :]
        elif action == "bytes":
            data = data[:at] + draw(st.binary(max_size=6)) + data[at + span :]
        elif action == "cut":
            data = data[:at]
        elif action == "drop":
            data = data[:at] + data[at + span :]
        elif action == "repeat":
            data = data[:at] + data[at : at + span] * 2 + data[at + span :]
        else:
            lines = data.split(b"\n")
            del lines[at % len(lines)]
            data = b"\n".join(lines)
    return data


def check(name, data):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        (Path(folder) / "good.cif").write_text(cif("Cu1 0 0 0"))
        with contextlib.suppress(AtomprintError):
            read_crystals(Path(folder) / name)
        result = read_crystals(folder)
        assert sorted(p.name for p in Path(folder).iterdir()) == sorted([name, "good.cif"])
    assert "good" in [crystal.id for crystal in result.crystals]
    for problem in result.problems:
        assert problem.kind in KINDS
        assert problem.file
        assert problem.reason
        assert problem.reason.isprintable()
        assert str(problem).isprintable()
        assert "please report" not in problem.reason  # the net below all readers
    for crystal in result.crystals:
        assert crystal.n_atoms > 0
        assert np.isfinite(crystal.positions).all()
        assert np.isfinite(crystal.cell).all()
        assert crystal.volume > 0.5
        assert crystal.positions.shape == (crystal.n_atoms, 3)
        for value in crystal.labels.values():
            assert np.isfinite(value).all()
            assert isinstance(value, float) or len(value) == crystal.n_atoms


OFTEN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", SEEDS)
@OFTEN
@given(data=st.data())
def test_mutated_files(name, data):
    check(name, data.draw(mutated(SEEDS[name])))


@pytest.mark.parametrize("name", SEEDS)
@settings(OFTEN, max_examples=15)
@given(data=st.binary(max_size=300))
def test_random_bytes(name, data):
    check(name, data)
