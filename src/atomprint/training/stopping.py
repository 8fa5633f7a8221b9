"""Stopping a run when asked to: after the step, with a checkpoint."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from atomprint.ground.processes import terminate

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOBODY = (signal.SIG_DFL, signal.default_int_handler, terminate)


class Stopped(KeyboardInterrupt):
    """A run ended because a signal asked it to, after its checkpoint was written.

    Attributes
    ----------
    signal
        Which.
    step
        Steps that are done and saved.
    """

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}")
        self.signal = number
        self.step = step


class StopRequests:
    """Notes signals that ask to stop, while it is entered; the loop looks when a step is done.

    A second one is not waited for: it interrupts at once. Signals reach the main thread only, and
    handlers that somebody else has installed are left alone.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> "StopRequests":
        """Take over the signals that nobody handles."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) in _NOBODY:
                    self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give them back."""
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise KeyboardInterrupt
        self.asked = number
