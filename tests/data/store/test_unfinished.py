"""What was interrupted is never taken for whole, and the same call ends it."""

import json

import numpy as np
import pytest

from atomprint.cli.main import run
from atomprint.data.store import Provenance, Store, StoreWriter, copying
from atomprint.data.store.convert import convert, read_quarantine
from atomprint.data.store.copying import merge_stores, sample_store, select_store
from atomprint.data.store.validate import validate_store
from atomprint.ground.errors import AtomprintWarning, UsageError
from tests.data.store.test_store import crystals, written


class Stopped(Exception):
    """In place of a kill."""


def dying_after(n):
    """A writer of small shards that stops after some."""

    class Dying(StoreWriter):
        n_left = n

        def __init__(self, path, **options):
            super().__init__(path, shard_crystals=4, **options)

        def commit(self, about=None):
            if self.n_waiting:
                if not Dying.n_left:
                    raise Stopped
                Dying.n_left -= 1
            super().commit(about)

    return Dying


@pytest.fixture
def sources(tmp_path):
    mp = Provenance(source="mp", licence="CC BY 4.0")
    one = written(tmp_path / "one", crystals(9, 1), provenance=[mp])
    two = written(tmp_path / "two", [*crystals(9, 1)[:4], *crystals(9, 2)])
    return one, two


@pytest.mark.parametrize("what", ["merge", "sample", "select"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_copy_that_was_interrupted_is_gone_on_with(tmp_path, monkeypatch, sources, what, after):
    one, two = sources

    def copy(out):
        if what == "merge":
            return merge_stores(sources, out)
        if what == "sample":
            return sample_store(two, 10, out, seed=3)
        return select_store(two, np.arange(0, 12), out, beside={"why.txt": "because"})

    monkeypatch.setattr(copying, "StoreWriter", dying_after(99))
    wanted = copy(tmp_path / "wanted")
    monkeypatch.setattr(copying, "StoreWriter", dying_after(after))
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        copy(out)
    with pytest.warns(AtomprintWarning, match="is unfinished: what made it was interrupted"):
        assert len(Store(out)) == 4 * after
    assert ["is unfinished" in d.reason for d in validate_store(out).damages] == [True]
    assert not (out / "why.txt").exists()
    with pytest.raises(UsageError, match="is a store of something else"):
        select_store(one, np.arange(3), out)
    monkeypatch.setattr(copying, "StoreWriter", dying_after(99))
    found = copy(out)
    assert found.resumed == 4 * after
    assert found.n_written == wanted.n_written
    assert found.problems == wanted.problems
    assert Store(out).hash() == Store(tmp_path / "wanted").hash()
    assert Store(out).provenance == Store(tmp_path / "wanted").provenance
    assert validate_store(out).damages == []
    assert (out / "why.txt").exists() == (what == "select")


def test_one_id_for_two_crystals_is_not_merged_in_silence(tmp_path, sources):
    one, _ = sources
    first, second = crystals(2, 7)
    other = written(tmp_path / "other", [type(second)(**{**vars_of(second), "id": one[3].id})])
    with pytest.raises(UsageError, match=f"{one[3].id!r} stands for one crystal in .*one and"):
        merge_stores([one, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    merge_stores([one, other], tmp_path / "out", rename=True)
    ids = list(Store(tmp_path / "out").ids())
    assert ids == [f"one/{c.id}" for c in one] + [f"other/{one[3].id}"]
    again = tmp_path / "elsewhere" / "one"
    with pytest.raises(UsageError, match="two stores are called 'one'"):
        merge_stores([one, written(again, [first])], tmp_path / "more", rename=True)


def vars_of(crystal):
    names = ("id", "numbers", "positions", "cell", "labels", "source")
    return {name: getattr(crystal, name) for name in names}


def test_commands_say_that_a_store_is_unfinished(tmp_path, capsys, sources, monkeypatch):
    monkeypatch.setattr(copying, "StoreWriter", dying_after(1))
    with pytest.raises(Stopped):
        merge_stores(sources, tmp_path / "out")
    assert run(["data", "stats", str(tmp_path / "out"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["n_crystals"] == 4
    assert said.err.startswith(f"warning: {tmp_path / 'out'}: is unfinished")
    assert run(["data", "validate", str(tmp_path / "out")]) == 1


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "in"
    path.mkdir()
    for number in range(3):
        rows = "".join(
            f'1\nLattice="4 0 0 0 4 0 0 0 {4 + number + i / 20}" id=c{number}{i} '
            "Properties=species:S:1:pos:R:3\nSi 0 0 0\n"
            for i in range(8)
        )
        (path / f"f{number}.xyz").write_text(rows)
    (path / "double.xyz").write_text((path / "f0.xyz").read_text())
    return path


def test_crystals_of_a_damaged_shard_come_again_with_the_same_call(tmp_path, folder):
    out, mine = tmp_path / "s", [Provenance(source="mine")]
    whole = convert(folder, out, shard_crystals=5, provenance=mine)
    before, listed = set(whole.store.ids()), list(read_quarantine(out))
    bad = sorted((out / "shards").iterdir())[1]
    bad.write_bytes(bad.read_bytes()[:-3])
    assert [d.lost for d in validate_store(out, repair=True).damages] == [True]
    with pytest.warns(AtomprintWarning, match="lacks crystals of damaged shards"):
        assert len(Store(out)) == len(before) - 5
    assert [d.file.name for d in validate_store(out).damages] == ["store.json"]
    found = convert(folder, out, shard_crystals=5, provenance=mine)
    assert found.resumed == len(before) - 5
    assert set(found.store.ids()) == before
    assert len(found.store) == len(before)
    # The doubles are named as before, and the crystals that were there are none.
    assert list(read_quarantine(out)) == listed
    assert validate_store(out).damages == []


def test_a_lost_description_leaves_what_the_shards_know(tmp_path, folder):
    out, mine = tmp_path / "s", [Provenance(source="mine", licence="CC0")]
    whole = convert(folder, out, shard_crystals=5, provenance=mine).store
    (out / "store.json").unlink()
    validate_store(out, repair=True)
    with pytest.warns(AtomprintWarning, match="lacks crystals"):
        assert Store(out).provenance == tuple(mine)
    again = convert(folder, out, shard_crystals=5, provenance=mine)
    assert again.store.hash() == whole.hash()


def test_options_that_make_another_store_are_refused(tmp_path, folder):
    out = tmp_path / "s"
    convert(folder, out, provenance=[Provenance(source="mine")])
    with pytest.raises(UsageError, match="was made without --exact"):
        convert(folder, out, exact=True)
    with pytest.raises(UsageError, match="was made without --source 'yours'"):
        convert(folder, out, provenance=[Provenance(source="yours")])
    assert convert(folder, out).notes == ["was complete already"]
