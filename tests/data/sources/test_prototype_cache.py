"""Structure types that are kept on disk are those that were made, or are made again."""

import importlib.metadata
import os

import numpy as np
import pytest

from atomprint.data.sources.generated import prototype_cache
from atomprint.data.sources.generated.prototype_cache import cached_prototypes
from atomprint.data.sources.generated.prototypes import Prototype


def some_types():
    """Types of several sizes, one of a lone atom, with numbers that no decimal has."""
    rng = np.random.default_rng(0)
    return tuple(
        Prototype(
            name=f"A{n}_χ",
            cell=rng.normal(size=(3, 3)),
            frac=rng.random((n, 3)),
            orbit=np.sort(rng.integers(0, n_orbits, n)),
            element=tuple(("O", "Na", "Cl")[:n_orbits]),
            charge=tuple((-2, 1, -1)[:n_orbits]),
            popularity=rng.random(),
        )
        for n, n_orbits in ((5, 3), (1, 1), (2, 2))
    )


class Maker:
    """Counts how often types are made."""

    def __init__(self):
        self.n = 0

    def __call__(self):
        self.n += 1
        return some_types()


def same(found):
    for one, other in zip(found, some_types(), strict=True):
        assert (one.name, one.element, one.charge, one.popularity) == (
            other.name,
            other.element,
            other.charge,
            other.popularity,
        )
        for name in ("cell", "frac", "orbit"):
            found, made = getattr(one, name), getattr(other, name)
            assert found.dtype == made.dtype
            assert np.array_equal(found, made)
    return True


@pytest.fixture
def make():
    return Maker()


def test_what_is_read_is_bit_for_bit_what_was_made(tmp_path, make):
    assert same(cached_prototypes(tmp_path, make))
    assert same(cached_prototypes(tmp_path, make))
    assert make.n == 1
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "other"])
def test_a_broken_file_is_made_anew(tmp_path, make, how):
    cached_prototypes(tmp_path, make)
    (path,) = tmp_path.glob("*.npz")
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    elif how == "flipped":
        # In what a member holds, not in its header.
        content[content.index(b"cell.npy") + 60] ^= 0xFF
    elif how == "empty":
        content = bytearray()
    if how == "other":
        np.savez(path, name=np.array(["x"]))
    else:
        path.write_bytes(content)
    assert same(cached_prototypes(tmp_path, make))
    assert make.n == 2
    assert same(cached_prototypes(tmp_path, make))
    assert make.n == 2


def test_no_changed_byte_changes_a_type(tmp_path, make):
    cached_prototypes(tmp_path, make)
    (path,) = tmp_path.glob("*.npz")
    whole = path.read_bytes()
    for place in range(0, len(whole), 5):
        content = bytearray(whole)
        content[place] ^= 0xFF
        path.write_bytes(content)
        assert same(cached_prototypes(tmp_path, make))


def test_other_versions_have_other_types(tmp_path, make, monkeypatch):
    cached_prototypes(tmp_path, make)
    known = importlib.metadata.version
    monkeypatch.setattr(prototype_cache, "version", lambda p: "99" if p == "spglib" else known(p))
    cached_prototypes(tmp_path, make)
    assert make.n == 2


def test_no_folder_is_no_error(tmp_path, make):
    (tmp_path / "file").touch()
    assert same(cached_prototypes(tmp_path / "file" / "types", make))
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert same(cached_prototypes(tmp_path / "types", make))
        tmp_path.chmod(0o700)


def test_nothing_is_unpickled(tmp_path, make):
    cached_prototypes(tmp_path, make)
    (path,) = tmp_path.glob("*.npz")
    with np.load(path) as file:
        arrays = dict(file)
    arrays["name"] = np.array([print, 1, 2], dtype=object)
    np.savez(path, **arrays)
    assert same(cached_prototypes(tmp_path, make))
    assert make.n == 2
