"""Machine code: dropped when any of its sources changes, and made once by many processes."""

import json
import os
import subprocess
import sys

import pytest

from atomprint.ground.compiled import drop_stale_code


def test_a_changed_source_drops_all_cached_code(tmp_path):
    kernels = tmp_path / "fingerprints" / "kernels"
    (kernels / "__pycache__").mkdir(parents=True)
    (kernels / "inner.py").write_text("x = 1\n")
    (kernels / "outer.py").write_text("from inner import x\n")
    code = kernels / "__pycache__" / "outer.rows-1.py311.nbi"
    other = kernels / "__pycache__" / "outer.cpython-311.pyc"
    stamp = tmp_path / "__pycache__" / "compiled.stamp"

    assert drop_stale_code(tmp_path, stamp)  # nothing is known of what is there
    code.write_text("machine code")
    other.write_text("not ours")
    assert not drop_stale_code(tmp_path, stamp)
    assert code.exists()
    (kernels / "inner.py").write_text("x = 2\n")
    assert drop_stale_code(tmp_path, stamp)
    assert not code.exists()
    assert other.exists()
    assert not drop_stale_code(tmp_path, stamp)


def test_a_package_that_cannot_be_written_is_left_alone(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert not drop_stale_code(tmp_path, blocked / "__pycache__" / "compiled.stamp")


LOOPS = """
from atomprint.ground.compiled import compiled

@compiled()
def inner(x):
    return 2 * x

@compiled()
def outer(x):
    total = 0.0
    for k in range(10):
        total += inner(x) + k
    return total
"""
COUNTED = """
import json
from numba.core import event

made = []

class Watch(event.Listener):
    def on_start(self, happened):
        made.append(happened.data["dispatcher"].__name__)

    def on_end(self, happened):
        pass

event.register("numba:compile", Watch())
import atomprint.ground.compiled
atomprint.ground.compiled._PATIENCE = {patience}
atomprint.ground.compiled._DIGEST += {sources!r}
import loops
assert loops.outer(1.0) == 65.0 and loops.outer(1) == 65
print(json.dumps(made))
"""


def started(folder, patience=60.0, sources=""):
    """A process that calls loops of a module in the folder, whose code is kept there, too."""
    (folder / "loops.py").write_text(LOOPS)
    paths = os.pathsep.join([str(folder), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", COUNTED.format(patience=patience, sources=sources)],
        env=os.environ | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(folder / "code")},
        stdout=subprocess.PIPE,
        text=True,
    )


def made_by(process):
    """Names of the functions that it had to compile, once a signature."""
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return json.loads(out)


def test_processes_that_start_together_compile_once(tmp_path):
    found = [made_by(process) for process in [started(tmp_path) for _ in range(3)]]
    # Two signatures of either.
    assert sorted(name for one in found for name in one) == ["inner"] * 2 + ["outer"] * 2
    assert made_by(started(tmp_path)) == []


def test_code_of_other_sources_is_not_run_wherever_it_is_kept(tmp_path):
    assert len(made_by(started(tmp_path))) == 4
    assert len(made_by(started(tmp_path, sources="changed"))) == 4
    assert made_by(started(tmp_path, sources="changed")) == []


def test_nobody_waits_for_ever(tmp_path):
    fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks")
    assert len(made_by(started(tmp_path))) == 4
    (lock,) = tmp_path.rglob("loops.outer.lock")
    for code in tmp_path.rglob("*.nb?"):
        code.unlink()
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert len(made_by(started(tmp_path, patience=0.2))) == 4
