"""Fused kernels: the same numbers as the members' plain PyTorch, many times as fast.

A kernel reads an :class:`~atomprint.fingerprints.kernels.edges.EdgeBlock` (the neighbours of a run
of atoms as flat arrays) and writes rows. Kernels hold no Python object and release the interpreter,
so that threads share a block's atoms. Numba compiles them on first use and keeps the machine code
in its cache.
"""
