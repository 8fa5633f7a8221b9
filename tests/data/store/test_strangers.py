"""A stranger's store: its checksums are right, and what they guard is not what atomprint writes."""

import json
import zlib

import numpy as np
import pytest

from atomprint.data.store import Store
from atomprint.data.store.layout import MAGIC
from atomprint.data.store.stats import store_stats
from atomprint.data.store.store import shard_paths
from atomprint.data.store.validate import validate_store
from atomprint.data.store.writer import StoreWriter
from atomprint.ground.errors import DataError
from tests.toy import toy_crystals


@pytest.fixture
def store(tmp_path):
    with StoreWriter(tmp_path / "s") as writer:
        for crystal in toy_crystals(6):
            writer.add(crystal)
    return tmp_path / "s"


def test_a_store_without_crystals_has_no_statistics(tmp_path):
    with StoreWriter(tmp_path / "s"):
        pass
    with pytest.raises(DataError, match="holds no crystal"):
        store_stats(Store(tmp_path / "s"))


def rewrite(store, change):
    """Change a shard's header, and give it the checksum of what it is then."""
    (file,) = shard_paths(store)
    data = file.read_bytes()
    length = int.from_bytes(data[16:24], "little")
    header = json.loads(data[24 : 24 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (length - len(text))
    assert len(text) == length, "the arrays would begin elsewhere"
    crc32 = zlib.crc32(data[8:12] + text)
    fixed = MAGIC + data[8:12] + crc32.to_bytes(4, "little") + data[16:24]
    file.write_bytes(fixed + text + data[24 + length :])


def looked_at(store):
    """Everything that a reader does."""
    opened = Store(store)
    return list(opened), list(opened.ids()), store_stats(opened)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["arrays"].pop("numbers"),
        lambda h: h["arrays"]["cells"].update(shape=[6, 9]),
        lambda h: h["arrays"]["atom_stops"].update(dtype="<f4"),
        lambda h: h["arrays"]["id_stops"].update(shape=[1]),
        lambda h: h["arrays"]["label:energy"].update(shape=[2]),
        lambda h: h["about"].update(labels=[]),
        lambda h: h["about"]["labels"].update(energy=[-1]),
        lambda h: h["about"].update(labels={"energz": None}),
        lambda h: h["about"].update(n_crystals=3),
    ],
)
def test_a_header_of_something_else_is_refused(store, change):
    rewrite(store, change)
    with pytest.raises(DataError, match=r"is not (as|one that) atomprint writes"):
        looked_at(store)
    assert validate_store(store).damages


@pytest.mark.parametrize(("name", "value"), [("atom_stops", 2**31), ("id_stops", 2**31)])
def test_places_beyond_the_arrays_are_told(store, name, value):
    header = Store(store).headers[0][1]
    (file,) = shard_paths(store)
    data = bytearray(file.read_bytes())
    place = header.arrays[name].offset
    data[place : place + 4] = np.array(value, "<u4").tobytes()
    file.write_bytes(data)
    with pytest.raises(DataError, match="look for damage"):
        looked_at(store)
    assert validate_store(store).damages
