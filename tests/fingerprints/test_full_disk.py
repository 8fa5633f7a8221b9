"""A full disk ends computing fingerprints with a sentence; what was computed is kept."""

import resource

import pytest

from atomprint.fingerprints.streaming.parts import write_atomically
from atomprint.ground.errors import UsageError


def test_a_part_that_does_not_fit_is_told_and_removed(tmp_path):
    kept, new = tmp_path / "part-0.parquet", tmp_path / "part-1.parquet"
    write_atomically(kept, b"x" * 100)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(UsageError, match=r"part-1\.parquet: cannot be written .* is kept"):
            write_atomically(new, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in tmp_path.iterdir()] == ["part-0.parquet"]
    assert kept.read_bytes() == b"x" * 100
