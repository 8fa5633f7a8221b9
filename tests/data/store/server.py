"""A web server of one folder, with the faults of real ones."""

import contextlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Faults:
    """What goes wrong: of each file, how many of the next answers."""

    def __init__(self) -> None:
        self.breaks_off: dict[str, int] = {}
        self.hangs: dict[str, int] = {}
        self.fails: dict[str, int] = {}
        self.forbids: set[str] = set()
        self.ranges = True
        self.delay = 0.0
        self.seen: list[tuple[str, str]] = []

    def take(self, of: dict[str, int], name: str) -> bool:
        """Whether this answer has the fault."""
        left = of.get(name, 0)
        of[name] = max(left - 1, 0)
        return left > 0


@contextlib.contextmanager
def serve(folder: Path):
    """Yield the address and the faults of a server of a folder."""
    faults = Faults()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            pass

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, body):
            path = folder / self.path.lstrip("/")
            name = path.name
            asked = self.headers.get("Range", "")
            faults.seen.append((name, asked if body else "HEAD"))
            time.sleep(faults.delay)
            if name in faults.forbids:
                self.send_error(403)
                return
            if not path.is_file():
                self.send_error(404)
                return
            if body and faults.take(faults.fails, name):
                self.send_error(503)
                return
            data = path.read_bytes()
            size = len(data)
            match = re.match(r"bytes=(\d+)-(\d*)", asked)
            if match and faults.ranges:
                start, last = int(match[1]), int(match[2] or size - 1)
                data = data[start : last + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            if faults.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if not body:
                return
            if faults.take(faults.hangs, name):
                self.wfile.write(data[:10])
                self.wfile.flush()
                time.sleep(3)
                self.close_connection = True
                return
            if faults.take(faults.breaks_off, name):
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                self.close_connection = True
                return
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
