"""Keep memory between steps, where the C library gives it back after each.

A step of training makes and drops hundreds of tensors of some MiB. glibc returns each of them to
the system and asks for it again, and the system zeroes the pages every time: some fifth of a step
on a processor goes there. Told otherwise, the process holds what its largest step needed, no more.
"""

import ctypes
import platform

# Names of mallopt's settings in glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_memory() -> bool:
    """Ask glibc to keep freed memory; whether it was there to be asked.

    Changes no number, and nothing where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    asked = ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20))
    return all(mallopt(name, value) == 1 for name, value in asked)
