"""Compiled loops: how numba is asked, and a cache that knows when a source has changed.

Processes that start together (ranks, workers, tests) compile a function once: the first does, the
others wait and read what it wrote.

Numba keeps machine code beside the file of the function that was called. It notices a change of
that file, but not of the other files whose functions were compiled into it: after an update of
some of them it would go on running the old code. Here code is kept under the hash of all compiled
sources of the package too, and what was made from others is removed.
"""

import hashlib
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from numba import njit
from numba.core.caching import FunctionCache

if sys.platform != "win32":
    import fcntl

_PACKAGE = Path(__file__).resolve().parent.parent
_SOURCES = (
    "ground/vectors.py", "structures/search.py", "structures/arrows.py",
    "nn/*_loops.py", "fingerprints/kernels/**/*.py", "data/sources/generated/*.py",
    "data/sources/packing.py",
)  # fmt: skip
_STAMP = _PACKAGE / "__pycache__" / "compiled.stamp"
_PATIENCE = 120.0
"""Seconds to wait for another process's code; nothing here takes so long to compile."""


class _SharedCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function, of which one process at a time makes what is missing."""

    _lock: IO[bytes] | None = None

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """What code is kept under: the sources of all loops too, wherever the cache lies."""
        return (*super()._index_key(sig, codegen), _DIGEST)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Code of a signature, if need be after another process has made it; None: make it."""
        found = super().load_overload(sig, target_context)
        if found is None and self._lock is None and self._wait():
            found = super().load_overload(sig, target_context)
            if found is not None:
                self._release()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write code that was made, and let others read it."""
        try:
            super().save_overload(sig, data)
        finally:
            self._release()

    def _wait(self) -> bool:
        """Take the lock; whether it was had: else there is nothing to wait for."""
        if sys.platform == "win32":
            return False
        folder = Path(self.cache_path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{self._py_func.__module__}.{self._py_func.__qualname__}.lock"
            lock = (folder / name).open("wb")
        except OSError:
            return False
        # A compilation that fails keeps its lock until the process ends: so nobody waits for ever.
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                # A file system without locks.
                break
            else:
                self._lock = lock
                return True
        lock.close()
        return False

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def compiled(
    *, fastmath: bool = False, error_model: str = "python"
) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function on its first call, without Python's lock, and keep the machine code.

    Parameters
    ----------
    fastmath
        Let sums be reordered and results be a rounding off; not where NaN or infinity may come.
    error_model
        ``numpy``: a division by zero gives infinity, and loops need not look for it.
    """
    jit = njit(nogil=True, fastmath=fastmath, error_model=error_model)

    def made(function: Callable[..., Any]) -> Any:
        dispatcher = jit(function)
        # Under NUMBA_DISABLE_JIT it is the plain function, which has no code to keep.
        if dispatcher is not function:
            dispatcher.enable_caching()
            # As enable_caching does; where no folder can be written, it has refused before this.
            dispatcher._cache = _SharedCache(function)
        return dispatcher

    return made


def _sources(package: Path) -> list[Path]:
    return sorted({path for pattern in _SOURCES for path in package.glob(pattern)})


def digest_of_sources(package: Path) -> str:
    """Hash of all compiled sources of a package."""
    digest = hashlib.sha256()
    for path in _sources(package):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def drop_stale_code(package: Path = _PACKAGE, stamp: Path = _STAMP) -> bool:
    """Remove cached machine code that was made from other sources; whether any was.

    It would not be run, as it is kept under the hash of its sources, but lie there for ever. Where
    nothing may be written, nothing is done.
    """
    files, wanted = _sources(package), digest_of_sources(package)
    with suppress(OSError):
        if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
            return False
        for folder in {path.parent for path in files}:
            for pattern in ("*.nbi", "*.nbc"):
                for code in (folder / "__pycache__").glob(pattern):
                    code.unlink(missing_ok=True)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(wanted, encoding="ascii")
        return True
    return False


_DIGEST = digest_of_sources(_PACKAGE)
drop_stale_code()
