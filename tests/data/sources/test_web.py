"""Asking servers: pauses they ask for, redirects, and what never gets better."""

import datetime
import email.utils
import time

import pytest

from atomprint.data.sources import web as module
from atomprint.data.sources.web import Denied, Missing, Web, with_query
from atomprint.ground.errors import DataError, UsageError
from tests.data.sources.server import Server


@pytest.fixture
def naps(monkeypatch):
    """Pauses that are asked for, without the waiting."""
    taken = []
    monkeypatch.setattr(module.time, "sleep", lambda seconds: taken.append(seconds))
    return taken


def test_a_pause_in_seconds_is_kept(server, naps):
    server.answers["/x"] = lambda query: [1]
    server.plan, server.retry_after = ["429"], "37"
    told = []
    assert Web(tell=told.append).json(f"{server.url}/x") == [1]
    assert 37 in naps
    assert "asking again in 37 s" in told[0]


def test_a_pause_until_a_date_is_kept(server, naps):
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    server.answers["/x"] = lambda query: [1]
    server.plan, server.retry_after = ["503"], email.utils.format_datetime(then, usegmt=True)
    assert Web().json(f"{server.url}/x") == [1]
    assert 90 < max(naps) <= 100


def test_a_pause_of_hours_is_told_and_not_waited_for(server, naps):
    server.plan, server.retry_after = ["429"], "7200"
    with pytest.raises(DataError, match=r"asks to wait 120 minutes; give the same command again"):
        Web().json(f"{server.url}/x")
    assert len(server.asked) == 1


def test_no_more_requests_a_second_than_allowed(server):
    server.answers["/x"] = lambda query: [1]
    web = Web(per_second=20)
    started = time.monotonic()
    for _ in range(5):
        web.json(f"{server.url}/x")
    assert time.monotonic() - started >= 4 * 0.05


@pytest.mark.parametrize(("status", "kind"), [(404, Missing), (410, Missing), (401, Denied)])
def test_a_refusal_is_not_asked_for_twice(server, status, kind):
    server.answers["/x"] = lambda query: status
    with pytest.raises(kind, match=f"/x: the server answers {status}"):
        Web().get(f"{server.url}/x?key=secret")
    assert len(server.asked) == 1


def test_keys_are_taken_to_no_other_server(server):
    other = Server()
    try:
        other.answers["/y"] = lambda query: [2]
        server.plan = [f"to:{other.url}/y"]
        assert Web().json(f"{server.url}/x", {"X-API-KEY": "secret"}) == [2]
        assert "secret" in str(server.headers)
        assert "secret" not in str(other.headers)
    finally:
        other.close()


def test_keys_stay_with_the_same_server(server):
    server.answers["/y"] = lambda query: [2]
    server.plan = [f"to:{server.url}/y"]
    assert Web().json(f"{server.url}/x", {"X-API-KEY": "secret"}) == [2]
    assert all("secret" in str(headers) for headers in server.headers)


def test_without_a_network_nothing_is_waited_for(naps):
    with pytest.raises(DataError, match=r"no connection .*needs a network"):
        Web().get("http://no-such-server.invalid/x")
    assert max(naps) == 0


@pytest.mark.parametrize("url", ["no address", "file:///etc/passwd", "ftp://a.org/x"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UsageError, match="is no address"):
        Web().get(url)


def test_an_answer_that_is_too_large_is_not_kept(server, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    server.answers["/x"] = lambda query: ["0"] * 10_000  # packed, it is small
    with pytest.raises(DataError, match="smaller pages"):
        Web().json(f"{server.url}/x")


def test_a_silent_server_is_given_up(server):
    server.answers["/x"] = lambda query: [1]
    server.plan = ["wait:3", "ok"]
    assert Web(timeout=0.3, waits=(0,)).json(f"{server.url}/x") == [1]


def test_queries_leave_out_what_is_empty():
    assert with_query("http://a/x", {"b": "c d", "e": "", "f": 2, "g": True}) == (
        "http://a/x?b=c+d&f=2&g=true"
    )
    assert with_query("http://a/x?y=1", {"z": 2}) == "http://a/x?y=1&z=2"
    assert with_query("http://a/x", {}) == "http://a/x"
