"""Headers that somebody wrote on purpose, checksum and all: one sentence, nothing worse."""

import copy
import json
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atomprint.data.batching import BatchSettings, BatchStream
from atomprint.data.store import Store
from atomprint.data.store.layout import (
    DamagedShard,
    map_arrays,
    read_header,
    write_shard,
)
from atomprint.data.store.stats import store_stats
from atomprint.data.store.validate import validate_store
from atomprint.ground.errors import AtomprintError
from tests.data.store.test_store import crystals, written


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return written(tmp_path_factory.mktemp("headers") / "s", crystals(9))


@pytest.fixture
def whole(store):
    """The shard as it was, put back afterwards."""
    (file,) = (path for path, _ in store.headers)
    data = file.read_bytes()
    yield file, data
    file.write_bytes(data)


def parts(data):
    """Header as a dictionary, and the bytes after it."""
    length = int(np.frombuffer(data[16:24], "<u8")[0])
    return json.loads(data[24 : 24 + length]), data[-(-(24 + length) // 64) * 64 :]


def forged(text, arrays, number=1):
    """A shard with any header, its checksum right."""
    fixed = np.array([number], "<u4").tobytes()
    crc32 = zlib.crc32(fixed + text)
    head = b"atomprnt" + fixed + np.array([crc32], "<u4").tobytes()
    head += np.array([len(text)], "<u8").tobytes() + text
    return head + b"\0" * (-len(head) % 64) + arrays


def use(path):
    """Everything that is done with stores; memory stays small."""
    tracemalloc.start()
    try:
        said = []
        for action in (_read, _stats, _draw, validate_store):
            try:
                action(path)
            except AtomprintError as error:
                said.append(str(error))
        assert not any("\n" in text or len(text) > 2000 for text in said)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def _read(path):
    opened = Store(path)
    assert len(list(opened.ids())) == len(opened)
    for crystal in opened:
        assert crystal.n_atoms >= 1
        assert 1 <= crystal.numbers.min() <= crystal.numbers.max() <= 118
        assert crystal.positions.shape == (crystal.n_atoms, 3)


def _stats(path):
    opened = Store(path)
    if len(opened):
        store_stats(opened)


def _draw(path):
    opened = Store(path)
    if len(opened):
        with np.errstate(all="ignore"):
            next(BatchStream(opened, 3.0, BatchSettings(max_crystals=4), 0).plan())


ODD = st.one_of(
    st.sampled_from(
        [-1, 0, 1, 3, 7, 63, 64, 2**31, 2**32, 2**62, 2**63, 2**64, -(2**70), 10**30, 1e308, -0.5]
    ),
    st.sampled_from([None, True, "", "7", "x" * 100, [], {}, [[]], "\ud800", float("inf")]),
    st.lists(st.sampled_from([0, 1, 3, 9, -1, 2**31, 2**63, 2**66, "a", None]), max_size=12),
    st.sampled_from(["|u1", "<u4", "<u8", "<f4", "<f8", "|O", "<U9", "|V1000000000", "f4,f4"]),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_anywhere(store, whole, data):
    file, original = whole
    values, arrays = parts(original)
    for _ in range(data.draw(st.integers(1, 3))):
        place = values
        while isinstance(place, dict) and place:
            name = data.draw(st.sampled_from(sorted(place)))
            if not (isinstance(place[name], dict) and data.draw(st.integers(0, 5))):
                break
            place = place[name]
        else:
            continue
        if data.draw(st.integers(0, 6)):
            place[name] = data.draw(ODD)
        else:
            del place[name]
    text = json.dumps(values).encode()
    file.write_bytes(forged(text, arrays))
    use(store.path)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_number_in_what_is_counted_with(store, whole, data):
    """Bytes that the checksums say are right, and that still cannot be."""
    file, original = whole
    file.write_bytes(original)
    header = read_header(file)
    arrays = {name: np.array(array) for name, array in map_arrays(file, header).items()}
    names = ["atom_stops", "id_stops", "ids", "numbers", "label:forces:stops", "id_hashes"]
    for _ in range(data.draw(st.integers(1, 3))):
        array = arrays[data.draw(st.sampled_from(names))]
        row = data.draw(st.integers(0, len(array) - 1))
        most = int(np.iinfo(array.dtype).max)
        array[row] = data.draw(st.sampled_from([0, 1, 5, 119, 200, most // 2, most])) % (most + 1)
    write_shard(file, arrays, header.about)
    use(store.path)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 1_000_000,
        b'{"arrays": ' * 200_000,
        b"null", b"[]", b"", b"7", b'{"arrays": {}}', b'{"arrays": {}, "about": {}}',
        b'{"arrays": {}, "about": {"n_crystals": 5, "n_atoms": 5}}',
        b'{"arrays": {}, "about": {"n_crystals": 1e400, "n_atoms": 5}}',
        b'{"arrays": {}, "about": {"n_crystals": ' + b"9" * 5000 + b', "n_atoms": 5}}',
        b"\xff\xfe", b'{"arrays": {}, "about": {"n_crystals": 0, "n_atoms": 0}} trailing',
    ],
)  # fmt: skip
def test_headers_of_other_kinds(store, whole, text):
    file, _ = whole
    file.write_bytes(forged(text, b""))
    with pytest.raises(DamagedShard):
        Store(store.path)
    use(store.path)


@pytest.mark.parametrize("length", [0, 25, 2**26 + 1, 2**40, 2**63, 2**64 - 1])
def test_lengths_that_are_not_there(store, whole, length):
    file, original = whole
    file.write_bytes(original[:16] + np.array([length], "<u8").tobytes() + original[24:])
    with pytest.raises(DamagedShard):
        Store(store.path)
    use(store.path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a["positions"].update(offset=a["numbers"]["offset"]), "not one that atomprint"),
        (lambda a: a["positions"].update(offset=a["positions"]["offset"] + 4), "not one that"),
        (lambda a: a["cells"].update(shape=[9, 9]), "its cells is not as"),
        (lambda a: a["cells"].update(shape=[1, 9, 9]), "its cells is not as"),
        (lambda a: a.pop("id_hashes"), "its id_hashes is not as"),
        (lambda a: a["numbers"].update(dtype="<u8"), "not one that atomprint|cut off"),
        (lambda a: a["ids"].update(shape=[2**60]), "not one that atomprint"),
    ],
)
def test_what_is_said(store, whole, change, reason):
    file, original = whole
    values, arrays = parts(original)
    change(values["arrays"])
    file.write_bytes(forged(json.dumps(values).encode(), arrays))
    with pytest.raises(DamagedShard, match=reason):
        Store(store.path)


def test_a_forged_header_that_changes_nothing_is_read(store, whole):
    file, original = whole
    values, arrays = parts(original)
    file.write_bytes(forged(json.dumps(copy.deepcopy(values)).encode(), arrays))
    assert [c.id for c in Store(store.path)] == [c.id for c in crystals(9)]
    use(store.path)
