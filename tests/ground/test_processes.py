"""No process outlives the one that started it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import os, signal, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from atomprint.ground.processes import end_with_parent
if __name__ == "__main__":
    more = {"initializer": end_with_parent} if sys.argv[1] == "with" else {}
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), **more)
    print(pool.submit(os.getpid).result(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A dead process that nobody has waited for yet is still in the table.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().split(")")[1].split()[0] != "Z"


@pytest.mark.parametrize("how", ["with", "without"])
def test_a_worker_ends_when_its_parent_is_killed(tmp_path, how):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    out = tmp_path / "out"
    with out.open("w") as file:
        subprocess.run([sys.executable, str(script), how], stdout=file, stderr=file)
    pid = int(out.read_text().split()[0])
    deadline = time.monotonic() + (20 if how == "with" else 1)
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        # Without, it lives on: the reason for all this, and the check that this test can fail.
        assert alive(pid) == (how == "without")
    finally:
        if alive(pid):
            os.kill(pid, 9)
