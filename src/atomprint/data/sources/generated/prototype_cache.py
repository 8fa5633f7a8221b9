"""Structure types kept on disk: pymatgen and spglib take many seconds to make them.

One file in the user's cache folder, named by the versions of everything that they depend on. What
is read is bit for bit what was made; a file that cannot be read is made anew, and where none can be
written the types are made every time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import platformdirs
from filelock import FileLock, Timeout

from .prototypes import Prototype, make_prototypes

# Whoever waits longer for another process makes the types, too.
_PATIENCE = 120.0
_PACKAGES = ("pymatgen", "pymatgen-core", "spglib", "smact", "numpy")
_SOURCES = ("prototypes.py", "chemistry.py", "prototype_cache.py")


@lru_cache(maxsize=1)
def _in_memory() -> tuple[Prototype, ...]:
    return cached_prototypes()


def load_prototypes(max_atoms: int) -> tuple[Prototype, ...]:
    """Every structure type with at most ``max_atoms`` atoms in its primitive cell."""
    return tuple(p for p in _in_memory() if p.n_atoms <= max_atoms)


def cached_prototypes(
    folder: Path | None = None, make: Callable[[], Sequence[Prototype]] = make_prototypes
) -> tuple[Prototype, ...]:
    """Read the structure types, or make and keep them.

    Parameters
    ----------
    folder
        Where they are kept; None: in the user's cache.
    make
        What makes them.
    """
    folder = folder or platformdirs.user_cache_path("atomprint", appauthor=False) / "types"
    path = folder / f"{_key()}.npz"
    found = _read(path)
    if found is not None:
        return found
    with ExitStack() as stack:
        # Of processes that start together one makes them, and the others read.
        with suppress(OSError, Timeout):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path.with_suffix(".lock"), timeout=_PATIENCE))
            found = _read(path)
            if found is not None:
                return found
        made = tuple(make())
        with suppress(OSError):
            _write(path, made)
    return made


def _key() -> str:
    parts = []
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            parts.append(f"{package} {version(package)}")
    here = Path(__file__).parent
    parts += [hashlib.sha256((here / name).read_bytes()).hexdigest() for name in _SOURCES]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _write(path: Path, types: Sequence[Prototype]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(
                file,
                name=np.array([t.name for t in types]),
                popularity=np.array([t.popularity for t in types]),
                cell=np.stack([t.cell for t in types]),
                n_atoms=np.array([t.n_atoms for t in types]),
                frac=np.concatenate([t.frac for t in types]),
                orbit=np.concatenate([t.orbit for t in types]),
                n_orbits=np.array([len(t.element) for t in types]),
                element=np.array([e for t in types for e in t.element]),
                charge=np.array([q for t in types for q in t.charge]),
            )
        part.replace(path)
    except BaseException:
        part.unlink()
        raise


def _read(path: Path) -> tuple[Prototype, ...] | None:
    """Types from a file; None if it is not there or broken (a zip has checksums)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            a = {name: file[name] for name in file.files}
        atoms = np.split(np.arange(len(a["frac"])), np.cumsum(a["n_atoms"])[:-1])
        orbits = np.split(np.arange(len(a["element"])), np.cumsum(a["n_orbits"])[:-1])
        return tuple(
            Prototype(
                name=str(a["name"][i]),
                cell=a["cell"][i],
                frac=a["frac"][own],
                orbit=a["orbit"][own],
                element=tuple(str(e) for e in a["element"][of]),
                charge=tuple(int(q) for q in a["charge"][of]),
                popularity=float(a["popularity"][i]),
            )
            for i, (own, of) in enumerate(zip(atoms, orbits, strict=True))
        )
    except Exception:
        # Whatever a broken zip makes zlib, zipfile and NumPy raise.
        return None
