"""A server that replays answers, and does what servers do: fail, hurry, wait, break off."""

import contextlib
import gzip
import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Answers by path; each is a function of the query that gives bytes, JSON, or a status."""

    def __init__(self, packed=True):
        self.answers = {}  # path -> function(query: dict[str, str]) -> bytes | object | int
        self.plan = []  # what happens to the next requests: ok, a status, cut, half, slow, wait:S
        self.asked = []  # path and query
        self.headers = []
        self.times = []
        self.retry_after = "0"
        self.packed = packed
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words):
                pass

            def do_GET(self):
                outer.serve(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def serve(self, request):
        parts = urllib.parse.urlsplit(request.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        self.asked.append((parts.path, query))
        self.headers.append(dict(request.headers))
        self.times.append(time.monotonic())
        act = self.plan.pop(0) if self.plan else "ok"
        if act.isdigit():
            self.send(request, int(act), b"{}", {"Retry-After": self.retry_after})
            return
        if act.startswith("to:"):
            self.send(request, 302, b"", {"Location": act[3:]})
            return
        if act.startswith("wait:"):
            time.sleep(float(act[5:]))
        answer = self.answers.get(parts.path, lambda query: 404)(query)
        if isinstance(answer, int):
            detail = {"errors": [{"detail": f"no {parts.path} here"}]}
            self.send(request, answer, json.dumps(detail).encode(), {})
            return
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        if act == "half":  # sound HTTP, half of the JSON
            body = body[: len(body) // 2]
        headers = {}
        if self.packed and not isinstance(answer, bytes):
            body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
        self.send(request, 200, body, headers, cut=act == "cut")

    def send(self, request, status, body, headers, cut=False):
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        # A client that was killed, or does not wait any longer, has gone.
        with contextlib.suppress(ConnectionError):
            request.wfile.write(body[: len(body) // 2] if cut else body)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
