"""Against a real server: optimade-python-tools with its own data, and with crystals of ours."""

import json
import os
import socket
import subprocess
import time
import urllib.request

import pytest

from atomprint.data.embedded import CORPUS
from atomprint.data.sources import OptimadeSettings, Surroundings
from atomprint.ground.errors import DataError
from atomprint.structures.reading import read_crystals
from atomprint.structures.reading.optimade import record_of
from tests.data.sources.answers import optimade_entry, same

ALIASES = {
    "id": "task_id",
    "chemical_formula_reduced": "pretty_formula",
    "chemical_formula_anonymous": "formula_anonymous",
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start the server; give its address."""
    python = os.environ.get("ATOMPRINT_OPTIMADE_PYTHON")
    if not python:
        pytest.skip("ATOMPRINT_OPTIMADE_PYTHON names no Python that has optimade[server]")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    processes = []

    def run(**config):
        (tmp_path / "config.json").write_text(json.dumps({"log_level": "warning", **config}))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [python, "-m", "uvicorn", "optimade.server.main:app", "--port", str(port)]
        environment = {**os.environ, "OPTIMADE_CONFIG_FILE": str(tmp_path / "config.json")}
        environment.pop("PYTHONPATH", None)
        processes.append(subprocess.Popen(command, env=environment, cwd=tmp_path))
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            assert processes[-1].poll() is None
            try:
                urllib.request.urlopen(f"{url}/v1/info", timeout=5).read()
                return url
            except OSError:
                time.sleep(0.2)
        raise AssertionError("the server did not start")

    yield run
    for process in processes:
        process.terminate()
        process.wait()


def test_crystals_go_through_a_real_server_unchanged(start, get, tmp_path):
    crystals = sorted(read_crystals(CORPUS).crystals[:150], key=lambda c: c.id)
    lines = [{"x-optimade": {"meta": {"api_version": "1.2.0"}}}]
    lines += [optimade_entry(crystal) for crystal in crystals]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    url = start(insert_test_data=False, insert_from_jsonl=str(tmp_path / "data.jsonl"))
    found = get(OptimadeSettings(base_url=url, page_limit=40), tmp_path / "s", n=100)
    found = get(OptimadeSettings(base_url=url, page_limit=40), tmp_path / "s")
    assert (found.resumed, found.exhausted) == (100, True)
    assert sorted(c.id for c in found.store) == [c.id for c in crystals]
    same(sorted(found.store, key=lambda c: c.id), crystals)
    oxides = get(OptimadeSettings(base_url=url, filter='elements HAS "O"'), tmp_path / "o").store
    assert {c.id for c in oxides} == {c.id for c in crystals if 8 in c.numbers}


def test_a_real_server_with_its_own_data(start, get, tmp_path):
    """Its geometries are made up, with atoms on top of each other: records are compared."""
    url = start(insert_test_data=True, aliases={"structures": ALIASES})
    source = OptimadeSettings(base_url=url, page_limit=5)
    items = [item for page in source.pages(Surroundings()) for item in page.items]
    with urllib.request.urlopen(f"{url}/v1/structures?page_limit=100") as answer:
        entries = json.load(answer)["data"]
    assert [item.id for item in items] == [entry["id"] for entry in entries]
    assert len(items) == 17
    for entry in entries:
        record = record_of(entry["attributes"])
        assert len(record.numbers) == entry["attributes"]["nsites"]
        assert record.positions == entry["attributes"]["cartesian_site_positions"]
    with pytest.raises(DataError, match=r"answers 400 .*Unable to parse filter"):
        get(OptimadeSettings(base_url=url, filter="elements HAS AND"), tmp_path / "s")
