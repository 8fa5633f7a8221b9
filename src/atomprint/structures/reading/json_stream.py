"""Items of a long list in a JSON file, one by one: no part of the file is kept but the item."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from atomprint.structures.reading.result import Refused

_CHUNK = 1 << 20
_MOST = 1 << 28
"""Characters of one item, or of what stands before the list."""


def stream_items(file: BinaryIO, key: str = "") -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield items of a list, each with what stood before it in the object around it.

    Parameters
    ----------
    file
        UTF-8.
    key
        Under which the list stands in the file's object; empty where the file is the list.

    Raises
    ------
    Refused
        If the file breaks off, is no JSON, or has no such list.
    """
    text = _Text(file)
    before: dict[str, Any] = {}
    if key:
        text.expect("{", "an object")
        if text.take_if("}"):
            raise Refused("broken", f"has no list {key!r}")
        while (name := text.value()) != key:
            text.expect(":", "a value")
            before[str(name)] = text.value()
            if not text.take_if(","):
                raise Refused("broken", f"has no list {key!r}")
        text.expect(":", "a value")
    text.expect("[", "a list")
    if text.take_if("]"):
        return
    while True:
        yield before, text.value()
        if not text.take_if(","):
            text.expect("]", "the end of the list")
            return


class _Text:
    """A file as text, of which only what is not yet read is held."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._json = json.JSONDecoder()
        self._text, self._at, self._ended = "", 0, False

    def take_if(self, mark: str) -> bool:
        """Whether this comes next; it is taken then."""
        if self._next() != mark:
            return False
        self._at += 1
        return True

    def expect(self, mark: str, what: str) -> None:
        """Take this.

        Raises
        ------
        Refused
            If something else comes next.
        """
        if not self.take_if(mark):
            found = repr(self._text[self._at : self._at + 20]) if self._next() else "the end"
            raise Refused("broken", f"is no sound JSON: {what} should come, {found} comes")

    def value(self) -> Any:
        """Take the value that comes next, however long it is."""
        self._next()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
                # At the end of what is read, 12 may be the beginning of 123.
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            except (json.JSONDecodeError, RecursionError) as error:
                if self._ended:
                    raise Refused("broken", f"is no sound JSON: {str(error)[:150]}") from None
            if len(self._text) - self._at > _MOST:
                raise Refused("size", f"has a part of more than {_MOST / 2**20:,.0f} MiB")
            # Twice as much each time: a long item is parsed anew only a few times.
            self._read(max(_CHUNK, len(self._text) - self._at))

    def _next(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read(_CHUNK)

    def _read(self, n: int) -> None:
        piece = self._file.read(n)
        self._ended = not piece
        self._text = self._text[self._at :] + self._decoder.decode(piece, self._ended)
        self._at = 0
