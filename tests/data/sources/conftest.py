import pytest

from atomprint.data.sources.base import Surroundings
from atomprint.data.sources.fetch import fetch
from atomprint.data.sources.web import Web
from tests.data.sources.server import Server


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    yield made
    made.close()


@pytest.fixture
def get():
    """Fetch without long waits."""

    def run(source, out, n=None, waits=(0, 0), timeout=5, **more):
        around = Surroundings(Web(timeout=timeout, waits=waits), **more)
        return fetch(source, out, n, around)

    return run
