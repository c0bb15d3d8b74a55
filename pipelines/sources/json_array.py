"""A ``.json`` file that holds one array of objects, read as JSON Lines: one element per line."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import IO

from ...contracts.errors import DataError

ENDINGS = (".json", ".json.gz", ".json.zst")

_CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"
#: Finds where an element ends. Its values are not used.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def as_lines(stream: IO[bytes], name: str) -> IO[bytes]:
    """The stream of a ``.json`` file as JSON Lines. A file that does not begin with ``[`` is left as it is.

    Reading raises DataError where the array is no JSON; ``name`` names the file in it.
    """
    return io.BufferedReader(_Blocks(_blocks(stream, name)))


class _Blocks(io.RawIOBase):
    """A readable stream of blocks of bytes."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._left = block
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


def _blocks(stream: IO[bytes], name: str) -> Iterator[bytes]:
    head = block = stream.read(_CHUNK)
    while block and not head.removeprefix(_BOM).strip():
        block = stream.read(_CHUNK)
        head += block
    if head.removeprefix(_BOM).lstrip().startswith(b"["):
        elements = _Elements(stream, head, name)
        yield from elements.lines()
        return
    while head:
        yield head
        head = stream.read(_CHUNK)


class _Elements:
    """The elements of an array that is read in chunks."""

    def __init__(self, stream: IO[bytes], head: bytes, name: str) -> None:
        self._stream = stream
        self._name = name
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._number = 1
        self._ended = False
        self._text = self._decoded(head)
        self._at = self._text.index("[") + 1

    def lines(self) -> Iterator[bytes]:
        while self._next() != "]":
            if self._number > 1:
                if self._next() != ",":
                    raise self._error("a comma or the end of the array is missing")
                self._at += 1
            element = self._element()
            # Between tokens line breaks are white space; within strings JSON has none.
            yield element.replace("\r", " ").replace("\n", " ").encode() + b"\n"
            self._number += 1
        self._at += 1
        if self._next():
            raise self._error("there is more after the end of the array")

    def _next(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _element(self) -> str:
        self._next()
        while True:
            try:
                _, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self._error("nested too deeply") from error
            except ValueError as error:
                if not self._more():
                    raise self._error(f"not JSON ({error})") from error
                continue
            found = self._text[self._at : end]
            self._at = end
            return found

    def _more(self) -> bool:
        """Read on. False at the end of the file."""
        if self._ended:
            return False
        left = self._text[self._at :]
        # Twice as much as is left: an element of any length is looked through a few times only.
        block = self._stream.read(max(_CHUNK, 2 * len(left)))
        self._ended = not block
        self._text, self._at = left + self._decoded(block), 0
        return not self._ended

    def _decoded(self, block: bytes) -> str:
        try:
            return self._decode.decode(block, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._error("not UTF-8: save it as UTF-8") from error

    def _error(self, why: str) -> DataError:
        return DataError(f"{self._name}: element {self._number} of the array: {why}")
