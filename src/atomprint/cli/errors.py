"""How the program ends: one sentence on standard error, and a status that scripts can trust."""

import errno
import os
import signal
import sys
from collections.abc import Callable

import typer

from atomprint.ground.errors import AtomprintError
from atomprint.ground.processes import Terminated

TRACEBACK = "ATOMPRINT_TRACEBACK"
INTERRUPTED = 130
_SHOWN = 120
"""Characters of a list of arguments."""
_WHAT_TO_DO = {
    errno.ENOSPC: " on a disk that is written to; make room and give the command again",
    errno.EDQUOT: " where is written to; make room and give the command again",
    errno.EROFS: "; choose another place",
    errno.EACCES: "; choose another place, or ask for the right to use this one",
}


class Interrupted(Exception):
    """Ctrl-C or a signal to end, with a sentence on how to go on from there.

    Attributes
    ----------
    status
        Exit status: 128 and the number of the signal, as shells count; if it is not given, of the
        signal that is being handled.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        number = int(getattr(sys.exception(), "signal", signal.SIGINT))
        self.status = 128 + number if status is None else status


def report_errors(action: Callable[[], None]) -> int:
    """Do something and return the exit status: 0, 1 for bad data, 2 for bad use, 130 for Ctrl-C.

    Every error becomes one sentence on standard error; with the environment variable
    ``ATOMPRINT_TRACEBACK`` set, errors are raised instead.
    """
    try:
        action()
        sys.stdout.flush()
    except typer.Exit as end:
        return int(end.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has gone; there is nobody to complain to.
        _silence_stdout()
        return 1
    except Terminated as stop:
        return _say("ended by SIGTERM", 128 + stop.signal)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", INTERRUPTED)
    except Interrupted as stop:
        return _say(str(stop), stop.status)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(str(error), file=sys.stderr)
            return 2
        if os.environ.get(TRACEBACK):
            raise
        return _say(*_sentence(error))
    return 0


def _sentence(error: Exception) -> tuple[str, int]:
    """What to say about an error, and the exit status."""
    if isinstance(error, AtomprintError):
        return str(error), error.exit_status
    if hasattr(error, "format_message"):  # the command line's own errors: unknown option and such
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "atomprint"
        text = error.format_message().rstrip(".")
        if text.startswith("Got unexpected extra argument"):
            # What a shell makes of *.cif are hundreds of names.
            more = " ..." if len(text) > _SHOWN else ""
            text = (
                f"{text[:_SHOWN]}{more}; of several files give the folder, or a pattern in quotes"
            )
        return f"{text}; see {path} --help", 2
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; smaller batches need less, for instance loop.batch.max_atoms=512", 1
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}{_WHAT_TO_DO.get(error.errno or 0, '')}", 1
    if isinstance(error, ModuleNotFoundError):
        return str(error), 1
    return f"unexpected {type(error).__name__}: {error}; set {TRACEBACK}=1 to see where", 1


def _say(text: str, status: int) -> int:
    if text:
        print(f"atomprint: {' '.join(text.split())}", file=sys.stderr)
    return status


def _silence_stdout() -> None:
    """Keep Python from complaining about the broken pipe once more when it exits."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
