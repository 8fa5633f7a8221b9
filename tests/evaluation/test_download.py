"""Downloads from a server that does what servers do: break off, ignore ranges, lie, be slow."""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from atomprint.evaluation.tasks import find_task
from atomprint.evaluation.tasks.download import download_size, download_task
from atomprint.ground.errors import DataError, UsageError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
PHONONS = find_task("phonons")


class Server:
    """A server, what it is told to do with the next requests, and what it was asked."""

    def __init__(self):
        self.content = CONTENT
        self.plan = []  # for each request: full, break, ignore, 404, 503, slow, silent
        self.ranges = []
        self.over = threading.Event()  # until then a connection may stay silent
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words):
                pass

            def do_HEAD(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()

            def do_GET(self):
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                act = outer.plan.pop(0) if outer.plan else "full"
                if act.isdigit():
                    self.send_error(int(act))
                    return
                begin = int(asked[6:-1]) if asked and act != "ignore" else 0
                if begin >= len(outer.content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(outer.content)}")
                    self.end_headers()
                    return
                body = outer.content[begin:]
                self.send_response(206 if begin else 200)
                if begin:
                    last = len(outer.content) - 1
                    self.send_header("Content-Range", f"bytes {begin}-{last}/{last + 1}")
                if act != "silent":
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if act == "break":
                    body = body[: len(body) // 2]
                if act == "slow":
                    for at in range(0, len(body), 250_000):
                        self.wfile.write(body[at : at + 250_000])
                        time.sleep(0.05)
                    return
                if act == "stall":
                    self.wfile.write(body[:300_000])
                    self.wfile.flush()
                    outer.over.wait(20)
                    return
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def task(self, **changes):
        url = f"http://127.0.0.1:{self.server.server_port}/matbench_phonons.json.gz"
        digest = hashlib.sha256(CONTENT).hexdigest()
        return PHONONS.model_copy(update={"url": url, "sha256": digest, **changes})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    yield made
    made.over.set()
    made.server.shutdown()
    made.server.server_close()


def get(server, folder, progress=None, waits=(0, 0), timeout=5, **changes):
    return download_task(server.task(**changes), folder, progress, waits=waits, timeout=timeout)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_comes_whole_and_its_progress_is_told(server, tmp_path):
    told = []
    path = get(server, tmp_path / "new", lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["matbench_phonons.json.gz"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert get(server, tmp_path / "new") == path
    assert server.ranges == [None]  # nothing was asked for a second time


def test_what_broke_off_goes_on_where_it_was(server, tmp_path):
    server.plan = ["break", "break"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=500000-", "bytes=750000-"]


def test_a_later_run_goes_on_where_a_killed_one_was(server, tmp_path):
    (tmp_path / "matbench_phonons.json.gz.part").write_bytes(CONTENT[:123_456])
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=123456-"]
    assert names(tmp_path) == ["matbench_phonons.json.gz"]


def test_a_complete_part_is_only_checked(server, tmp_path):
    (tmp_path / "matbench_phonons.json.gz.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("old", [b"x" * 1000, CONTENT + b"more"])
def test_a_part_of_another_file_is_thrown_away(server, tmp_path, old):
    (tmp_path / "matbench_phonons.json.gz.part").write_bytes(old)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(old)}-", None]


def test_a_server_that_ignores_ranges_sends_all_of_it_again(server, tmp_path):
    server.plan = ["break", "ignore"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=500000-"]


def test_a_server_that_states_no_length_is_believed_and_checked(server, tmp_path):
    server.plan = ["silent"]
    told = []
    assert get(server, tmp_path, lambda *numbers: told.append(numbers)).read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), 0)


def test_another_file_is_refused_and_removed(server, tmp_path):
    server.content = CONTENT[::-1]
    with pytest.raises(DataError, match=r"not the file that it should be .*it was removed"):
        get(server, tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_file_in_place_is_replaced(server, tmp_path):
    path = tmp_path / "matbench_phonons.json.gz"
    path.write_bytes(b"old")
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_missing_page_is_reported_at_once(server, tmp_path):
    server.plan = ["404"]
    with pytest.raises(DataError, match=r"answers 404 .*put it there as .*phonons\.json\.gz"):
        get(server, tmp_path)
    assert len(server.ranges) == 1


def test_a_busy_server_is_asked_again_and_at_last_given_up(server, tmp_path):
    server.plan = ["503", "503"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    (tmp_path / "matbench_phonons.json.gz").unlink()
    server.plan = ["break", "503", "503", "503"]
    with pytest.raises(DataError, match=r"answers 503 .*after 0\.5 MB; run it again to go on"):
        get(server, tmp_path)
    assert names(tmp_path) == ["matbench_phonons.json.gz.part"]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_slow_server_is_waited_for_and_a_silent_one_not(server, tmp_path):
    server.plan = ["slow"]
    assert get(server, tmp_path, timeout=0.4).read_bytes() == CONTENT
    assert server.ranges == [None]
    (tmp_path / "matbench_phonons.json.gz").unlink()
    server.plan = ["stall"]
    started = time.monotonic()
    assert get(server, tmp_path, timeout=0.4).read_bytes() == CONTENT
    assert time.monotonic() - started < 10
    assert len(server.ranges) == 3
    begin = int(server.ranges[2][6:-1])
    assert 0 < begin <= 300_000


def test_no_server_at_all_is_said_plainly(server, tmp_path):
    with pytest.raises(DataError, match="no connection"):
        get(server, tmp_path, url="http://127.0.0.1:1/x")


def test_two_at_once_download_once(server, tmp_path):
    server.plan = ["slow"]
    threads = [threading.Thread(target=get, args=(server, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "matbench_phonons.json.gz").read_bytes() == CONTENT
    assert server.ranges == [None]


def test_the_size_is_asked_for_without_the_file(server):
    assert download_size(server.task()) == len(CONTENT)
    assert server.ranges == []
    with pytest.raises(DataError, match="no connection"):
        download_size(server.task(url="http://127.0.0.1:1/x"))


def test_a_set_without_an_address_says_where_it_is_from(tmp_path):
    with pytest.raises(UsageError, match="cannot be downloaded"):
        download_task(find_task("qmof_gap"), tmp_path)


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written to .*name another folder"):
        get(server, tmp_path / "file")


def test_a_full_disk_is_no_broken_connection(server, tmp_path, monkeypatch):
    def full(self, piece):
        raise OSError(28, "No space left on device")

    class Full:
        write = full

        def __enter__(self):
            return self

        def __exit__(self, *words):
            pass

    monkeypatch.setattr("atomprint.data.sources.download._opened", lambda *words: Full())
    with pytest.raises(UsageError, match=r"\.part: cannot be written \(No space left"):
        get(server, tmp_path)
    assert len(server.ranges) == 1
