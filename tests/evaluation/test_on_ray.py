"""Units on a Ray cluster: the same results, none done twice, none taken from other processes."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from atomprint.evaluation.evaluate import run, write_about
from atomprint.evaluation.on_ray import run_on_ray
from atomprint.evaluation.units import claim
from atomprint.ground.errors import DataError, UsageError
from tests.evaluation.competitors import Mean, evaluation


class Shifted(Mean):
    """Predicts what it is told, and fails on one fold if asked to."""

    def __init__(self, name, shift, fails_on=None, log=None):
        super().__init__(name, log=log, shift=shift)
        self.fails_on = fails_on

    def fit_predict(self, train, test, target, seed, progress=None):
        if test[0].id == self.fails_on:
            raise DataError("this arm cannot do this")
        return super().fit_predict(train, test, target, seed, progress)


def results(folder):
    """What the units say, but for what they took."""
    found = {}
    for path in sorted((folder / "units").glob("*.json")):
        unit = json.loads(path.read_text())
        for name in ("seconds", "cpu_seconds", "peak_mib", "energy", "peak_device_mib"):
            unit.pop(name, None)
        found[path.name] = unit
    return found


@pytest.fixture
def pretended(monkeypatch):
    """A Ray of this process: tasks are done when they are asked for, the last one first."""

    class TaskError(Exception):
        def __init__(self, cause):
            super().__init__(str(cause))
            self.cause = cause

    asked = []

    def remote(function):
        def ask(*arguments):
            asked.append((function, arguments))
            return len(asked) - 1

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=ask))

    def get(reference):
        function, arguments = asked[reference]
        try:
            return function(*arguments)
        except Exception as error:
            raise TaskError(error) from error

    fake = SimpleNamespace(
        is_initialized=lambda: True,
        cluster_resources=lambda: {"CPU": 2.0},
        put=lambda value: value,
        remote=remote,
        wait=lambda some, num_returns: (some[-1:], some[:-1]),
        get=get,
        exceptions=SimpleNamespace(RayTaskError=TaskError),
        asked=asked,
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def test_every_unit_is_done_once(pretended, tmp_path):
    one = evaluation(arms=[Shifted("a", 0.0), Shifted("b", 1.0)])
    for folder in (tmp_path / "here", tmp_path / "there"):
        write_about(one, folder)
    run(one, tmp_path / "here")
    seen = []
    n = run_on_ray(one, tmp_path / "there", "auto", lambda *said: seen.append(said[1:3]))
    assert n == 8
    assert len(pretended.asked) == 8
    assert results(tmp_path / "there") == results(tmp_path / "here")
    assert [total for _, total in seen] == [8] * 8
    assert seen[-1] == (8, 8)
    assert run_on_ray(one, tmp_path / "there", "auto") == 0
    assert len(pretended.asked) == 8


def test_units_of_other_processes_are_left_to_them(pretended, tmp_path):
    one = evaluation(arms=[Shifted("a", 0.0)])
    write_about(one, tmp_path)
    mine = one.units()[2]
    held = claim(mine, tmp_path, one.crystals, one.target)
    assert claim(mine, tmp_path, one.crystals, one.target) is None
    assert run_on_ray(one, tmp_path, "auto") == 3
    assert [u.name for u in one.pending(tmp_path)] == [mine.name]
    held.release()
    assert run_on_ray(one, tmp_path, "auto") == 1


def test_what_was_done_before_an_error_is_kept_and_nothing_stays_locked(pretended, tmp_path):
    whole = evaluation(arms=[Shifted("a", 0.0)])
    bad = whole.crystals[whole.cases[0].test[0]].id
    one = evaluation(arms=[Shifted("a", 0.0, fails_on=bad)])
    write_about(one, tmp_path)
    with pytest.raises(DataError, match="cannot do this"):
        run_on_ray(one, tmp_path, "auto")
    pending = whole.pending(tmp_path)
    assert 0 < len(pending) <= 4
    for unit in pending:
        held = claim(unit, tmp_path, one.crystals, one.target)
        assert held is not None
        held.release()


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"atomprint\[ray\]"):
        run_on_ray(evaluation(), tmp_path, "auto")


def test_on_a_ray_cluster(tmp_path):
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'atomprint[ray]')")
    from ray.cluster_utils import Cluster

    log = tmp_path / "log"
    one = evaluation(arms=[Shifted("a", 0.0, log=log), Shifted("b", 1.0, log=log)])
    for folder in (tmp_path / "here", tmp_path / "there"):
        write_about(one, folder)
    run(one, tmp_path / "here")
    log.unlink()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        assert run_on_ray(one, tmp_path / "there", cluster.address) == 8
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert results(tmp_path / "there") == results(tmp_path / "here")
    lines = [line.split(maxsplit=1) for line in log.read_text().splitlines()]
    assert len(lines) == 8
    assert len(np.unique([what for _, what in lines])) == 8
    assert len({pid for pid, _ in lines}) >= 2
