"""Run commands where something is wrong with the machine, and look at what they say and leave.

    python benchmarks/faults/conditions.py --work WORK

Linux only: full and read-only disks are mounts of a name space of their own (``unshare``), for
which one need not be root; "no permission" needs root, which becomes nobody (``setpriv``). A row a
condition and command: the exit status, what was said, whether it is one sentence, and whether the
same command ends with the result of an unbroken run once nothing is wrong any more. Writes
``benchmarks/results/faults/conditions.json``.
"""

import argparse
import hashlib
import http.server
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kill import Command, commands

from atomprint.evaluation.tasks import download
from atomprint.evaluation.tasks.task import find_task
from atomprint.ground.errors import AtomprintError
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

OUT = Path(__file__).parents[1] / "results" / "faults" / "conditions.json"
# KiB of a disk on which each command begins and does not end.
ROOM = {"data convert": 96, "fingerprint": 64, "pretrain": 160, "evaluate": 40}
# A clock that is put back by an hour every tenth time that somebody looks.
BACKWARDS = """
import time
_true, _looks = time.time, [0]
def _back():
    _looks[0] += 1
    return _true() - 3600 * (_looks[0] // 10)
time.time = _back
"""
Row = dict[str, Any]


def program(words: list[str]) -> list[str]:
    """A command line of atomprint."""
    return [sys.executable, "-m", "atomprint.cli.main", *words]


def said(err: str) -> str:
    """What a command said on standard error, less what libraries did."""
    lines = [line for line in err.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("atomprint:")]
    return "\n".join(lines if "Traceback" in err else ours or lines)


def row(condition: str, command: str, status: int, err: str, equal: bool | None) -> Row:
    """What is kept of a run; ``equal``: whether the result was reached afterwards."""
    text = said(err)
    found = {
        "condition": condition,
        "command": command,
        "status": status,
        "said": text[:400],
        # None is due where the command ended well.
        "one_sentence": one_sentence(text) if status else None,
        "same_result_afterwards": equal,
    }
    print(json.dumps(found), flush=True)
    return found


def one_sentence(text: str) -> bool:
    """Whether something was said, and in one line."""
    return bool(text) and "\n" not in text and "Traceback" not in text


def finish(command: Command, out: Path) -> tuple[str, list[str]]:
    """Go on as a person would when nothing is wrong any more."""
    ended = subprocess.run(program(command.again(out)), capture_output=True, text=True, check=False)
    if ended.returncode:
        return f"status {ended.returncode}: {said(ended.stderr)}", []
    return command.result(out)


def mounted(setup: str, words: list[str], after: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command where mounts are its own."""
    script = f"{setup}\n{shlex.join(program(words))}\nstatus=$?\n{after}\nexit $status"
    start = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    return subprocess.run(start, capture_output=True, text=True, check=False)


def full_disk(command: Command, out: Path, wanted: Any) -> Row:
    """The disk is full before the command has ended."""
    kept = out.with_name(out.name + "-kept")
    shutil.rmtree(kept, ignore_errors=True)
    place = shlex.quote(str(out))
    setup = f"mount -t tmpfs -o size={ROOM[command.name]}k tmpfs {place}"
    ended = mounted(setup, command.start(out), f"cp -r {place} {shlex.quote(str(kept))}")
    # Whoever makes room has the same files in the same place.
    shutil.rmtree(out)
    kept.rename(out)
    equal = ended.returncode != 0 and finish(command, out) == wanted
    return row("full disk", command.name, ended.returncode, ended.stderr, equal)


def read_only(command: Command, out: Path, wanted: Any) -> Row:
    """The folder is on a disk that is mounted read-only."""
    place = shlex.quote(str(out))
    setup = f"mount --bind {place} {place} && mount -o remount,ro,bind {place}"
    ended = mounted(setup, command.start(out))
    return row("read-only folder", command.name, ended.returncode, ended.stderr, None)


def no_permission(command: Command, out: Path, wanted: Any) -> Row | None:
    """The folder belongs to somebody else."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return None
    out.chmod(0o755)
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    place = {**os.environ, "HOME": "/nonexistent", "NUMBA_CACHE_DIR": f"/tmp/numba-{os.getpid()}"}
    ended = subprocess.run(
        [*nobody, *program(command.start(out))], capture_output=True, text=True, env=place,
        check=False,
    )  # fmt: skip
    return row("no permission", command.name, ended.returncode, ended.stderr, None)


def terminated(command: Command, out: Path, wanted: Any, seconds: float = 0.0) -> Row:
    """SIGTERM in the middle."""
    process = subprocess.Popen(
        program(command.start(out)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < deadline:
        if any(f.is_file() and not f.name.endswith(".lock") for f in out.rglob("*")):
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.02)
    _, err = process.communicate()
    equal = finish(command, out) == wanted
    return row("SIGTERM", command.name, process.returncode, err, equal)


def wrong_clock(command: Command, out: Path, wanted: Any) -> Row:
    """The clock goes backwards again and again."""
    folder = out / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BACKWARDS)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        program(command.start(out)), capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    equal = ended.returncode == 0 and command.result(out) == wanted
    return row("clock that goes back", command.name, ended.returncode, "", equal)


def two_writers(command: Command, out: Path, wanted: Any) -> Row:
    """The same command is started again while it runs: while it stands still, in fact."""
    first = subprocess.Popen(
        program(command.start(out)), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while first.poll() is None and not any(out.rglob("*lock")):
        time.sleep(0.005)
    time.sleep(0.3)  # it is made, and then taken
    first.send_signal(signal.SIGSTOP)
    second = subprocess.Popen(
        program(command.start(out)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        _, err = second.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        # It waits for what the first one is at.
        first.send_signal(signal.SIGCONT)
        _, err = second.communicate()
    first.send_signal(signal.SIGCONT)
    status = first.wait()
    equal = status == 0 and command.result(out) == wanted
    return row("two writers", command.name, second.returncode, err, equal)


CONTENT = bytes(range(256)) * 4096


class Breaking(http.server.BaseHTTPRequestHandler):
    """Sends a part of what was asked for, and then hangs up; after three times it is gone."""

    def do_GET(self) -> None:
        """Send less than was promised."""
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        most = len(CONTENT) if self.server.patient else 100_000  # type: ignore[attr-defined]
        self.wfile.write(CONTENT[begin : begin + most])

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def vanished_network(work: Path) -> Iterator[Row]:
    """The server goes away in the middle of a download, and is back later."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Breaking)
    server.patient = False  # type: ignore[attr-defined]
    port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{port}/file"
    named = {"url": url, "sha256": hashlib.sha256(CONTENT).hexdigest()}
    task = find_task("phonons").model_copy(update=named)
    folder = work / "download"
    shutil.rmtree(folder, ignore_errors=True)

    def gone(done: int, total: int) -> None:
        if done > 300_000:
            server.shutdown()
            server.server_close()

    text = ""
    try:
        download.download_task(task, folder, gone, timeout=2, waits=(0.1, 0.1))
    except AtomprintError as error:
        text = str(error)
    left = sorted(path.name for path in folder.iterdir())
    again = http.server.ThreadingHTTPServer(("127.0.0.1", port), Breaking)
    again.patient = True  # type: ignore[attr-defined]
    threading.Thread(target=again.serve_forever, daemon=True).start()
    path = download.download_task(task, folder, timeout=2, waits=(0.1,))
    again.shutdown()
    equal = path.read_bytes() == CONTENT and path.name not in left
    yield row("vanished network", "tasks download", 1 if text else 0, text, equal)


CONDITIONS: dict[str, Callable[[Command, Path, Any], Row | None]] = {
    "full disk": full_disk,
    "read-only folder": read_only,
    "no permission": no_permission,
    "SIGTERM": terminated,
    "clock that goes back": wrong_clock,
    "two writers": two_writers,
}


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", action="append", help="a condition or command")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    known: dict[str, Any] = json.loads(OUT.read_text()) if OUT.is_file() else {"rows": []}

    def keep(found: Row | None) -> None:
        if found is None:
            return
        same = ("condition", "command")
        known["rows"] = [r for r in known["rows"] if any(r[k] != found[k] for k in same)]
        known["rows"].append(found)
        known["environment"] = {k: v for k, v in environment().items() if k != "command"}
        OUT.parent.mkdir(parents=True, exist_ok=True)
        write_json(OUT, known)

    def wanted(name: str) -> bool:
        return not arguments.only or name in arguments.only

    if wanted("vanished network"):
        for found in vanished_network(work):
            keep(found)
    for command in commands(work):
        chosen = [n for n in CONDITIONS if wanted(n) or (arguments.only and wanted(command.name))]
        if not chosen:
            continue
        folder = work / command.name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        whole = folder / "whole"
        whole.mkdir(parents=True)
        subprocess.run(program(command.start(whole)), capture_output=True, check=True)
        result = command.result(whole)
        for name in chosen:
            out = folder / name.replace(" ", "-")
            out.mkdir()
            keep(CONDITIONS[name](command, out, result))


if __name__ == "__main__":
    main()
