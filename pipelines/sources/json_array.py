"""A ``.json`` file that holds an array of objects, or objects over several lines, read as JSON Lines."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import IO

from ...contracts.errors import DataError
from .json_mistakes import fix_of

ENDINGS = (".json", ".json.gz", ".json.zst")

_CHUNK = 1 << 20
_SHOWN = 60
_BOM = b"\xef\xbb\xbf"
#: Finds where an element ends. Its values are not used.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def as_lines(stream: IO[bytes], name: str) -> IO[bytes]:
    """The stream of a ``.json`` file as JSON Lines: each element of its array or each of its objects a line.

    A file with a whole object in its first line is left as it is, and so is one that begins with something
    else. Reading raises DataError where the file is no JSON; ``name`` names the file in it.
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
    begun = head.removeprefix(_BOM).lstrip()
    if b"\x00" not in head[:4]:  # else it is UTF-16, which is told with its line
        if begun.startswith(b"["):
            yield from _Elements(stream, head, name, "element {} of the array").of_array()
            return
        if begun.startswith(b"{") and not _is_whole(begun.partition(b"\n")[0]):
            yield from _Elements(stream, head, name, "object {}").one_after_another()
            return
    while head:
        yield head
        head = stream.read(_CHUNK)


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line.decode())
    except RecursionError:
        return True  # told with its line
    except ValueError:
        return False
    return True


class _Elements:
    """The elements of an array, or objects one after another, that are read in chunks."""

    def __init__(self, stream: IO[bytes], head: bytes, name: str, what: str) -> None:
        self._stream = stream
        self._name = name
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._what = what
        self._number = 1
        self._ended = False
        self._lines_before = 0
        self._at = 0
        self._text = ""
        self._text = self._decoded(head)

    def one_after_another(self) -> Iterator[bytes]:
        while self._next():
            if self._number > 1 and self._next() == ",":
                raise self._error("not JSON (a comma between two objects): write one object per line")
            yield self._line()
            self._number += 1

    def of_array(self) -> Iterator[bytes]:
        self._at = self._text.index("[") + 1
        while self._next() != "]":
            if self._number > 1:
                if self._next() != ",":
                    raise self._error("a comma or the end of the array is missing")
                self._at += 1
                if self._next() == "]":
                    raise self._error("not JSON (a comma before the end of the array): remove the comma")
            yield self._line()
            self._number += 1
        self._at += 1
        if self._next():
            raise self._error("there is more after the end of the array")

    def _line(self) -> bytes:
        # Between tokens line breaks are white space; within strings JSON has none.
        return self._element().replace("\r", " ").replace("\n", " ").encode() + b"\n"

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
                begin = self._at
                if not self._more():
                    raise self._not_json(error, begin) from error
                continue
            found = self._text[self._at : end]
            self._at = end
            return found

    def _more(self) -> bool:
        """Read on. False at the end of the file."""
        if self._ended:
            return False
        left = self._text[self._at :]
        self._lines_before += self._text.count("\n", 0, self._at)
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

    def _not_json(self, error: ValueError, begin: int) -> DataError:
        """The error of an element. ``begin``: where it began in the text that the parser saw."""
        if not isinstance(error, json.JSONDecodeError):
            return self._error(f"not JSON ({error})")
        at = self._at + error.pos - begin
        if at >= len(self._text.rstrip()):
            return self._error(f"not JSON ({error.msg}): the file ends in it; is it complete?", at)
        found = self._text[at : at + _SHOWN].partition("\n")[0].strip()
        fix = fix_of(self._text[self._at :], error.msg, at - self._at)
        return self._error(f"not JSON ({error.msg}, found {found!r}); {fix}", at)

    def _error(self, why: str, at: int | None = None) -> DataError:
        line = self._lines_before + self._text.count("\n", 0, self._at if at is None else at) + 1
        return DataError(f"{self._name}: line {line}, {self._what.format(self._number)}: {why}")
