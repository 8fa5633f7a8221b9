"""Memory that is kept between steps."""

import platform
import resource
import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from atomprint.training.memory import keep_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_memory()
def use():
    # 40 MB each: beyond the 32 MiB up to which glibc learns by itself to keep memory.
    for _ in range(5):
        tensors = [torch.zeros(10_000_000) for _ in range(3)]
        del tensors
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_memory_is_not_asked_for_again():
    """Pages that a loop of tensors faults in, in its second round."""

    def faults(what):
        asked = subprocess.run(
            [sys.executable, "-c", COUNT, what], capture_output=True, text=True, check=True
        )
        return int(asked.stdout)

    pages = 5 * 3 * 10_000_000 * 4 // resource.getpagesize()
    assert faults("keep") < 0.02 * pages
    # Were this not more, there would be nothing to keep, and the module could go.
    assert faults("drop") > 10 * faults("keep") + 100
