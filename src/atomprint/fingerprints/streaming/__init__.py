"""Fingerprints of more crystals than memory holds: part by part, resumable, on many processes."""

from atomprint.fingerprints.streaming.job import Job
from atomprint.fingerprints.streaming.run import Written, stream

__all__ = ["Job", "Written", "stream"]
