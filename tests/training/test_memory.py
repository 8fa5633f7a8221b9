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
    for _ in range(20):
        tensors = [torch.zeros(600_000) for _ in range(20)]
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

    pages = 20 * 20 * 600_000 * 4 // resource.getpagesize()
    assert faults("keep") < 0.02 * pages
    # Were this not more, there would be nothing to keep, and the module could go.
    assert faults("drop") > 10 * faults("keep") + 100
