"""Processes that end with the one that started them."""

import os
import threading
from multiprocessing import parent_process


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
