"""Threads of our own for compiled loops, which let go of Python's lock."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="atomprint")


if hasattr(os, "register_at_fork"):  # a forked process must not wait for its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def over_rows(run: Callable[[int, int], None], first: Any, n_threads: int) -> None:
    """Call ``run(start, stop)`` on parts of some rows, with equal shares of their entries.

    Parameters
    ----------
    run
        Computes the rows from start to stop (a call of a kernel compiled with ``nogil``).
    first
        Entries of row i are ``first[i]`` to ``first[i + 1]``.
    n_threads
        Parts are as many as threads; with one thread the caller's own does it all.
    """
    n = len(first) - 1
    if n_threads <= 1 or n < 2 * n_threads:
        run(0, n)
        return
    n_entries = int(first[-1] - first[0])
    shares = np.linspace(0, n_entries + n, n_threads + 1)[1:-1]
    cuts = [0, *np.searchsorted(first[1:] - first[0] + np.arange(1, n + 1), shares).tolist(), n]
    jobs = [_pool(n_threads).submit(run, cuts[k], cuts[k + 1]) for k in range(n_threads)]
    for job in jobs:
        job.result()
