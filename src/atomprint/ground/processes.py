"""Processes that end with the one that started them."""

import os
import signal
import threading
from multiprocessing import parent_process
from types import FrameType

WATCHES_STDIN = "ATOMPRINT_WATCHES_STDIN"
"""Environment variable of processes whose standard input closes when their launcher ends."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came, as schedulers send it: what an interrupt does is to be done.

    Attributes
    ----------
    signal
        Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


def terminate(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM where nobody does it better.

    Raises
    ------
    Terminated
        Always.
    """
    raise Terminated(number)


def stop_with_launcher() -> None:
    """Ask this process to stop, as SIGTERM does, when what started it has ended, however.

    Nothing happens where nobody has said that standard input tells.
    """
    if not os.environ.pop(WATCHES_STDIN, ""):
        return

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="stop-with-launcher").start()


def end_with_parent() -> None:
    """Make this process end when the one that started it has ended, however that ended.

    A pool's processes wait for work on pipes whose other ends they hold themselves, so that after
    a `kill -9` of their parent they would wait for ever, with all their memory.
    """
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
