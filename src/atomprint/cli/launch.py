"""Start a command several times on this machine, as processes of one run, and watch over them."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import IO

from atomprint.cli.errors import Interrupted
from atomprint.cli.output import note
from atomprint.ground.processes import WATCHES_STDIN

# After one process has failed the others notice by themselves, or are ended.
_PATIENCE, _LAST_PATIENCE = 15.0, 5.0
_POLL = 0.05
# Exit status of a process that ended only because another one did.
_LOST = 75


def launch(n_processes: int, how_to_go_on: Callable[[str], str]) -> int:
    """Run this very command line in several processes; return the exit status.

    The first process has the terminal; of the others only what made the run fail is shown. Signals
    reach this process alone and are passed on to all; if it is killed itself, they stop.

    Parameters
    ----------
    n_processes
        How many.
    how_to_go_on
        Makes a sentence of how the run ended, if a process was killed.
    """
    with ExitStack() as stack:
        logs: list[IO[str]] = [
            stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(n_processes)
        ]
        port = _free_port()
        pipe, held = os.pipe()
        stack.callback(os.close, held)
        try:
            processes = [
                _start(rank, n_processes, port, pipe, log) for rank, log in enumerate(logs)
            ]
        finally:
            os.close(pipe)

        asked: list[int] = []

        def forward(number: int, frame: FrameType | None) -> None:
            asked.append(number)
            for process in processes:
                if process.poll() is None:
                    process.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                stack.callback(signal.signal, number, signal.signal(number, forward))
        _wait(processes)
        statuses = [process.returncode for process in processes]
        if asked and -asked[0] in statuses and statuses[0] <= 0:
            # It came before any of them listened, so that none could say anything.
            raise Interrupted(how_to_go_on("interrupted"), 128 + asked[0])
        return _judge(statuses, logs, how_to_go_on)


def _start(rank: int, n: int, port: int, stdin: int, log: IO[str]) -> "subprocess.Popen[bytes]":
    environment = {
        # As torchrun does, but for what is left to each process of this machine's cores.
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // n)),
        # Else torch warns of a search for unused weights that found none.
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(n),
        "LOCAL_WORLD_SIZE": str(n),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        WATCHES_STDIN: "1",
    }
    first = rank == 0
    return subprocess.Popen(
        [sys.executable, "-m", "atomprint.cli.main", *sys.argv[1:]],
        env=environment,
        stdin=stdin,
        stdout=None if first else subprocess.DEVNULL,
        stderr=None if first else log,
        # Ctrl-C reaches this process only, or it would reach the others twice.
        start_new_session=True,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Wait until all have ended, by themselves or because one has failed."""
    failed_at: float | None = None
    told = False
    while any(process.poll() is None for process in processes):
        if failed_at is None and any(process.returncode for process in processes):
            failed_at = time.monotonic()
        waited = time.monotonic() - failed_at if failed_at is not None else 0.0
        if waited > _PATIENCE + _LAST_PATIENCE or (waited > _PATIENCE and not told):
            for process in processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL if told else signal.SIGTERM)
            told = True
        time.sleep(_POLL)


def _judge(statuses: list[int], logs: list[IO[str]], how_to_go_on: Callable[[str], str]) -> int:
    """Say what the first process could not say, and return what the run ended with."""
    first = statuses[0]
    causes = [rank for rank, status in enumerate(statuses) if status not in (0, _LOST)]
    if not causes:
        return 1 if any(statuses) else 0
    # If the first process is among the causes it has said why, unless it was killed.
    if first > 0 and 0 in causes:
        return first
    cause = causes[0]
    logs[cause].seek(0)
    said = logs[cause].read().strip().splitlines()
    if statuses[cause] > 0 and said:
        note(f"process {cause}: {said[-1]}")
    elif first != _LOST:
        number = -statuses[cause]
        name = signal.Signals(number).name if number > 0 else f"status {statuses[cause]}"
        how = f"process {cause} of {len(statuses)} was ended by {name}"
        note(f"atomprint: {how_to_go_on(how)}")
    return 1
