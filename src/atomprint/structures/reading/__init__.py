"""Reading crystals and labels from what users have, naming everything that cannot be read."""

from atomprint.structures.reading.read import read_crystals
from atomprint.structures.reading.result import KINDS, Problem, ReadResult

__all__ = ["KINDS", "Problem", "ReadResult", "read_crystals"]
