"""A run that says which threads of gloo there are when it is done, and when the interpreter ends.

RANK=0 WORLD_SIZE=2 ... python -m tests.training.leaving OUT
"""

import atexit
import sys
from pathlib import Path

from tests.training import shared_runs


def say():
    """Print the names of the backend's threads."""
    names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
    sys.stdout.write(f"{[name for name in names if 'gloo' in name]}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # What is registered first is called last.
    atexit.register(say)
    shared_runs.pretrain(shared_runs.crystals(), shared_runs.RUNS["few"], Path(sys.argv[1]))
    say()
