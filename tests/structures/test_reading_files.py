"""Finding files: folders, patterns, archives, and what is refused on the way."""

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading import KINDS, files, read_crystals
from tests.structures.crystal_files import (
    EXTXYZ,
    NACL_CIF,
    POSCAR,
    as_json,
    cif,
    structure_dict,
    write,
)

COPPER = cif("Cu1 0 0 0")
BROKEN = "data_x\nloop_\n_a\n_b\n1 2 3\n"


def ids(result):
    return [crystal.id for crystal in result.crystals]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "crystals"
    write(root / "b" / "copper.cif", COPPER)
    write(root / "a" / "salt.cif", NACL_CIF)
    write(root / "run1" / "POSCAR", POSCAR)
    write(root / "README.md", "read me")
    write(root / "notes.txt", "x")
    write(root / "more.txt", "x")
    write(root / ".hidden.cif", BROKEN)
    write(root / "._copper.cif", b"\x00\x05\x16\x07")
    write(root / "__MACOSX" / "copper.cif", BROKEN)
    write(root / "atom_init.json", '{"1": [0, 1]}')
    return root


def test_folder_is_searched_in_order_and_other_files_are_counted(folder):
    result = read_crystals(folder)
    assert ids(result) == ["salt", "copper", "run1"]
    assert not result.problems
    assert result.notes == ["files of other types passed over: 1 × .json, 1 × .md, 2 × .txt"]
    assert result.summary() == ["3 crystals read, 0 left out", *result.notes]


def test_pattern_sequence_and_single_file(folder):
    assert ids(read_crystals(folder / "*" / "*.cif")) == ["salt", "copper"]
    assert ids(read_crystals(str(folder / "**" / "copper.cif"))) == ["copper"]
    several = [folder / "run1" / "POSCAR", str(folder / "b")]
    assert ids(read_crystals(several)) == ["run1", "copper"]
    assert ids(read_crystals(folder / "a" / "salt.cif")) == ["salt"]


def test_a_file_name_with_brackets_is_no_pattern(tmp_path):
    write(tmp_path / "a[1].cif", COPPER)
    assert ids(read_crystals(tmp_path / "a[1].cif")) == ["a[1]"]


def pack(folder, target):
    if target.name.endswith(".zip"):
        with zipfile.ZipFile(target, "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder.parent))
    else:
        mode = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz", ".tar": "w"}
        with tarfile.open(target, mode[target.suffix]) as archive:
            archive.add(folder, folder.name)
    return target


ARCHIVES = ["c.tar", "c.tar.gz", "c.tgz", "c.tar.bz2", "c.tar.xz", "c.zip"]


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_give_what_the_folder_gives(tmp_path, folder, name):
    result = read_crystals(pack(folder, tmp_path / name))
    assert sorted(ids(result)) == ["copper", "run1", "salt"]
    assert not result.problems
    assert result.notes == ["files of other types passed over: 1 × .json, 1 × .md, 2 × .txt"]
    assert {c.source for c in result.crystals} >= {f"{tmp_path / name}/crystals/a/salt.cif"}


@pytest.mark.parametrize("name", ["wrong.tar", "wrong.tar.gz"])
def test_tar_is_told_by_its_content(tmp_path, folder, name):
    made = pack(folder, tmp_path / ("c.tgz" if name == "wrong.tar" else "c.tar"))
    made.rename(tmp_path / name)
    assert len(ids(read_crystals(tmp_path / name))) == 3


def test_nothing_is_written_by_hostile_archives(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    with zipfile.ZipFile(inside / "evil.zip", "w") as archive:
        archive.writestr("../../escaped.cif", COPPER)
        archive.writestr("/absolute.cif", COPPER)
        link = zipfile.ZipInfo("link.cif")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with tarfile.open(inside / "evil.tar", "w") as archive:
        for name in ("../../escaped2.cif", "/absolute2.cif"):
            info = tarfile.TarInfo(name)
            info.size = len(COPPER)
            archive.addfile(info, io.BytesIO(COPPER.encode()))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"special{kind.decode()}.cif")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    before = sorted(tmp_path.rglob("*"))
    result = read_crystals(inside)
    assert sorted(ids(result)) == ["absolute", "absolute2", "escaped", "escaped2"]
    assert [(p.id, p.kind) for p in result.problems] == [("link", "broken")]  # the link's text
    assert sorted(tmp_path.rglob("*")) == before


def test_archive_in_an_archive_is_named(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("copper.cif", COPPER)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
        archive.writestr("salt.cif", NACL_CIF)
        archive.writestr("x.db", b"SQLite format 3\x00")
    result = read_crystals(tmp_path / "outer.zip")
    assert ids(result) == ["salt"]
    assert [p.reason for p in result.problems] == [
        "is an archive inside an archive; unpack it",
        "is a database inside an archive; unpack it and give the file",
    ]


def test_strange_zips_are_named(tmp_path):
    """Found by fuzzing: a compression that nobody has, and a member without a name."""
    for name, member in (("method.zip", "id_prop.csv"), ("nameless.zip", "x")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("copper.cif", COPPER)
            archive.writestr(member, "copper,1\n")
    data = bytearray((tmp_path / "method.zip").read_bytes())
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.rindex(mark) + place
        data[at : at + 2] = b"\x63\x00"
    (tmp_path / "method.zip").write_bytes(data)
    data = bytearray((tmp_path / "nameless.zip").read_bytes())
    for mark, place in ((b"PK\x03\x04", 30), (b"PK\x01\x02", 46)):
        data[data.rindex(mark) + place] = 0
    (tmp_path / "nameless.zip").write_bytes(data)
    result = read_crystals(tmp_path / "method.zip")
    assert ids(result) == ["copper"]
    assert "cannot be read" in str(result.problems[0])
    (problem,) = read_crystals(tmp_path / "nameless.zip").problems
    assert "damaged archive" in str(problem)


def test_bombs_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100_000)
    monkeypatch.setattr(files, "MAX_ARCHIVE_BYTES", 1_000_000)
    zeros = bytes(3_000_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.cif", zeros)
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as archive:
        for name, data in (("a.cif", zeros), ("b.cif", COPPER.encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(tmp_path / "big.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.cif", zeros[:200_000])
        archive.writestr("copper.cif", COPPER)
    write(tmp_path / "bomb.cif.gz", gzip.compress(zeros))
    write(tmp_path / "huge.cif", COPPER + "#" * 200_000)
    write(tmp_path / "line.xyz.gz", gzip.compress(zeros))
    result = read_crystals(tmp_path)
    assert ids(result) == ["copper"]
    found = {p.file.removeprefix(f"{tmp_path}/"): p.kind for p in result.problems}
    assert found == dict.fromkeys(
        ["bomb.zip", "bomb.tar.gz", "big.zip/big.cif", "bomb.cif.gz", "huge.cif", "line.xyz.gz"],
        "size",
    )


def test_long_tar_headers_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100_000)
    monkeypatch.setattr(files, "MAX_ARCHIVE_BYTES", 400_000)
    for name, size in (("long.tar", 300_000), ("end.tar", 90_000)):
        info = tarfile.TarInfo("header")
        info.type, info.size = tarfile.XHDTYPE, size
        with tarfile.open(tmp_path / name, "w") as archive:
            for _ in range(1 if name == "long.tar" else 5):
                archive.addfile(info, io.BytesIO(bytes(size)))
    result = read_crystals(tmp_path)
    assert [p.kind for p in result.problems] == ["size", "size"]


def test_too_many_members(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(files, "MAX_MEMBERS", 3)
    for name in ("c.zip", "c.tar"):
        (found,) = read_crystals(pack(folder, tmp_path / name)).problems
        assert found.kind == "size"


@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_archives_are_named(tmp_path, folder, name):
    data = pack(folder, tmp_path / name).read_bytes()
    other = write(tmp_path / "other.cif", COPPER)
    for damaged in (b"", b"garbage", data[: len(data) // 2], data[:200] + bytes(300) + data[500:]):
        write(tmp_path / name, damaged)
        result = read_crystals([tmp_path / name, other])
        assert result.problems, len(damaged)
        assert {p.kind for p in result.problems} <= {"broken", "element", "empty", "cell"}


def test_encrypted_member_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("copper.cif", COPPER)
    data = bytearray((tmp_path / "c.zip").read_bytes())
    data[6] |= 1  # the flag of encryption, in both headers
    data[data.index(b"PK\x01\x02") + 8] |= 1
    write(tmp_path / "c.zip", bytes(data))
    (found,) = read_crystals(tmp_path / "c.zip").problems
    assert (found.kind, "encrypted" in found.reason) == ("broken", True)


def test_compressed_single_files(tmp_path):
    write(tmp_path / "copper.cif.gz", gzip.compress(COPPER.encode()))
    write(tmp_path / "POSCAR.gz", gzip.compress(POSCAR.encode()))
    write(tmp_path / "s.json.gz", gzip.compress(as_json(structure_dict()).encode()))
    write(tmp_path / "bad.cif.gz", gzip.compress(COPPER.encode())[:-20])
    write(tmp_path / "worse.cif.gz", b"no gzip")
    result = read_crystals(tmp_path)
    assert sorted(ids(result)) == ["copper", "s", tmp_path.name]
    assert [p.kind for p in result.problems] == ["broken", "broken"]


def test_nothing_to_read(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_crystals(tmp_path / "absent.cif")
    write(tmp_path / "copper.cif", COPPER)
    with pytest.raises(UsageError, match=r"did you mean '.*copper\.cif'"):
        read_crystals(tmp_path / "coper.cif")
    with pytest.raises(UsageError, match="no file matches the pattern"):
        read_crystals(tmp_path / "*.vasp")
    with pytest.raises(UsageError, match="list of paths is empty"):
        read_crystals([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no files there"):
        read_crystals(tmp_path / "empty")
    write(tmp_path / "other" / "README.md", "x")
    with pytest.raises(UsageError, match="only 1 files of other types"):
        read_crystals(tmp_path / "other")
    with pytest.raises(UsageError, match="of no known type; give CIF"):
        read_crystals(tmp_path / "other" / "README.md")
    write(tmp_path / "json" / "x.json", "{}")
    with pytest.raises(UsageError, match="no crystals there; files of other types"):
        read_crystals(tmp_path / "json")
    with pytest.raises(UsageError, match=r"cannot be opened|does not exist"):
        read_crystals("a\x00b.cif")


def test_named_file_without_crystals_is_a_problem(tmp_path):
    path = write(tmp_path / "x.json", '{"a": 1}')
    (found,) = read_crystals(path).problems
    assert found.reason == "holds no pymatgen structure"


def test_second_crystal_with_an_id_is_left_out(tmp_path):
    write(tmp_path / "a" / "x.cif", COPPER)
    write(tmp_path / "b" / "x.cif", NACL_CIF)
    result = read_crystals(tmp_path)
    assert [c.numbers[0] for c in result.crystals] == [29]
    (found,) = result.problems
    assert (found.id, found.kind) == ("x", "duplicate")
    assert str(tmp_path / "a" / "x.cif") in found.reason


def test_strict_raises_with_the_first_and_the_count(tmp_path):
    write(tmp_path / "a.cif", BROKEN)
    write(tmp_path / "b.cif", COPPER)
    write(tmp_path / "c.cif", BROKEN)
    with pytest.raises(DataError, match=r"a\.cif.*no sound CIF.*\(and 1 more\)"):
        read_crystals(tmp_path, strict=True)
    assert ids(read_crystals(tmp_path / "b.cif", strict=True)) == ["b"]


def test_counts_and_summary(tmp_path):
    write(tmp_path / "a.cif", BROKEN)
    write(tmp_path / "b.cif", BROKEN)
    write(tmp_path / "c.cif", cif("Cu1 0 0 0\nCu2 0.01 0 0"))
    write(tmp_path / "d.cif", COPPER)
    result = read_crystals(tmp_path)
    assert result.n_skipped == 3
    assert result.counts() == {"broken": 2, "overlap": 1}
    assert result.summary()[0] == "1 crystal read, 3 left out"
    assert result.summary()[1] == f"2 × {KINDS['broken']}"


def test_progress_counts_files(folder):
    seen = []
    read_crystals(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_unreadable_file_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.cif", COPPER)
    write(tmp_path / "b.cif", COPPER)
    real = type(path).open

    def denied(self, *args, **kwargs):
        if self.name == "a.cif":
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(path), "open", denied)
    result = read_crystals(tmp_path)
    assert ids(result) == ["b"]
    assert "Permission denied" in result.problems[0].reason


def test_extxyz_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("runs.xyz.gz", gzip.compress(EXTXYZ.encode()))
    assert ids(read_crystals(tmp_path / "c.zip")) == ["runs#0", "runs#1"]


def test_a_fault_of_ours_costs_one_file_only(tmp_path, monkeypatch):
    from atomprint.structures.reading import read

    def faulty(data):
        raise IndexError("oh")

    monkeypatch.setattr(read, "read_poscar", faulty)
    write(tmp_path / "a.cif", COPPER)
    write(tmp_path / "run" / "POSCAR", POSCAR)
    result = read_crystals(tmp_path)
    assert ids(result) == ["a"]
    (found,) = result.problems
    assert found.reason == "cannot be read (unexpected IndexError: oh; please report)"


def test_a_pipe_is_refused(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.cif")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        read_crystals(tmp_path / "pipe.cif")


@pytest.mark.parametrize("name", ["é.cif", "id_prop.csv"])
def test_names_of_members_that_are_no_text(tmp_path, name):
    """A zip says a member's name twice; where the second is no UTF-8, its library gives up."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("salt.cif", NACL_CIF)
        archive.writestr(name, COPPER if name.endswith(".cif") else "salt,1\n")
    data = bytearray(path.read_bytes())
    at = data.index(name.encode())
    data[at] = 0xFF
    flags = at - 30 + 6
    data[flags + 1] |= 8  # names are UTF-8
    path.write_bytes(data)
    result = read_crystals(path)
    assert [c.id for c in result.crystals] == ["salt"]
    assert [p.reason.partition(" (")[0] for p in result.problems] == ["cannot be read"]
    assert "unexpected" not in result.problems[0].reason
