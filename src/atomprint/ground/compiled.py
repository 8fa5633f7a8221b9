"""Compiled loops: how numba is asked, and a cache that knows when a source has changed.

Numba keeps machine code beside the file of the function that was called. It notices a change of
that file, but not of the other files whose functions were compiled into it: after an update of
some of them it would go on running the old code. Here all cached code of the package is dropped
as soon as any of its compiled sources is not the one it was made from.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit

_PACKAGE = Path(__file__).resolve().parent.parent
_SOURCES = (
    "ground/vectors.py", "structures/search.py", "nn/pair_loops.py", "fingerprints/kernels/**/*.py",
    "data/sources/generated/descent.py",
    "data/sources/packing.py",
)  # fmt: skip
_STAMP = _PACKAGE / "__pycache__" / "compiled.stamp"


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
    made: Callable[[Callable[..., Any]], Any] = njit(
        nogil=True, cache=True, fastmath=fastmath, error_model=error_model
    )
    return made


def drop_stale_code(package: Path = _PACKAGE, stamp: Path = _STAMP) -> bool:
    """Remove cached machine code that was made from other sources; whether any was.

    Where nothing may be written, nothing is done: such an installation changes as a whole.
    """
    digest = hashlib.sha256()
    files = sorted({path for pattern in _SOURCES for path in package.glob(pattern)})
    for path in files:
        digest.update(path.read_bytes())
    wanted = digest.hexdigest()
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


drop_stale_code()
