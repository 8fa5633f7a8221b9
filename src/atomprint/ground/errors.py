"""Errors a user can act on: one sentence saying what is wrong, where, and what to do."""


class AtomprintError(Exception):
    """Base of every error atomprint raises on purpose; the command line prints it plainly."""

    exit_status = 1


class UsageError(AtomprintError):
    """The command or the settings are wrong (exit status 2)."""

    exit_status = 2


class DataError(AtomprintError):
    """The data are wrong (exit status 1)."""

    exit_status = 1


class AtomprintWarning(UserWarning):
    """Something that is probably not meant; the command line prints it as a note."""
