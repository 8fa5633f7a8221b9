"""Cached machine code is dropped when any of its sources changes."""

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
