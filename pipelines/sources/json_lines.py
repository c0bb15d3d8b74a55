"""The lines of JSON Lines files, in blocks that are read apart; each line is a row or one clear error."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeAlias

from ...contracts.errors import DataError
from .json_mistakes import fix_of, is_wide
from .locations import UNREADABLE, File, unreadable

_SHOWN = 60
#: Maximum number of digits of an integer; Python's own limit is a little higher.
LONGEST_NUMBER = 4000

#: A line's object, its place ("file:line") and its length in bytes.
Line: TypeAlias = tuple[dict[str, Any], str, int]
Loads: TypeAlias = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class LineBlock:
    """The lines of a file that begin at its bytes ``start .. stop`` (None: at its end)."""

    file: File
    start: int = 0
    stop: int | None = None

    def lines(self) -> Iterator[bytes]:
        with self.file.open_decompressed() as stream:
            at, next_line = self.start, stream.readline
            if at:
                # A line that began before belongs to the block before.
                stream.seek(at - 1)
                at += len(next_line()) - 1
            while (self.stop is None or at < self.stop) and (line := next_line()):
                at += len(line)
                yield line


def blocks_of(file: File, size: int) -> list[LineBlock]:
    """The blocks of a file, of ``size`` bytes each; one if it can be read from its beginning only."""
    length = None if file.compressed else file.size()
    if length is None:
        return [LineBlock(file)]
    return [LineBlock(file, start, start + size) for start in range(0, length, size)]


class HasLines(Protocol):
    """Lines of a file."""

    @property
    def file(self) -> File: ...

    def lines(self) -> Iterator[bytes]: ...


def rows_of(block: HasLines, loads: Loads, before: int = 0) -> Iterator[Line]:
    """The rows of a block. ``before``: the number of lines of the file before it. Raises DataError."""
    number, name = before, block.file.name
    try:
        for number, line in enumerate(block.lines(), before + 1):
            if line.strip():
                place = f"{name}:{number}"
                yield _parse(line, place, loads), place, len(line)
    except UNREADABLE as error:
        raise DataError(f"{name}:{number + 1}: {unreadable(error)}") from error


#: Parses a line of which :func:`checked` has shown that nothing is lost.
parsed: Loads = json.loads


def _parse(line: bytes, place: str, loads: Loads) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig")
        row = loads(text)
        # A lone surrogate (\\ud800) is legal JSON, but Arrow and UTF-8 cannot represent it.
        if "\\u" in text:
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: a lone surrogate (\\u{ord(error.object[error.start]):04x}) is not valid text"
        ) from error
    except UnicodeDecodeError as error:
        if is_wide(line):
            raise _is_wide(place) from error
        raise DataError(
            f"{place}: not UTF-8 (byte {error.start + 1} of the line): save it as UTF-8"
        ) from error
    except RecursionError as error:
        raise DataError(f"{place}: nested too deeply") from error
    except _Unheld as error:
        raise DataError(f"{place}: {error}") from error
    except ValueError as error:
        if is_wide(line):
            raise _is_wide(place) from error
        if not isinstance(error, json.JSONDecodeError):
            raise DataError(f"{place}: not JSON ({error}): {_shown(text)}; fix or remove it") from error
        said, fix = f"{error.msg} at character {error.pos + 1}", fix_of(text, error.msg, error.pos)
        raise DataError(f"{place}: not JSON ({said}): {_shown(text)}; {fix}") from error
    if not isinstance(row, dict):
        raise DataError(
            f"{place}: a row is a JSON object, found {_shown(text)}; "
            "write one {...} per line (a file that holds one JSON array is named .json)"
        )
    return row


def _is_wide(place: str) -> DataError:
    return DataError(
        f"{place}: UTF-16 or UTF-32, and JSON is UTF-8: save it as UTF-8, as with `iconv -f UTF-16 -t UTF-8`"
    )


class _Unheld(ValueError):
    """JSON that a row can represent only in part."""


def checked(text: str) -> Any:
    """The value of a JSON text. Raises ValueError if Python's parser would silently lose a part of it."""
    return json.loads(
        text,
        parse_constant=_refuse,
        parse_float=_finite,
        parse_int=_whole,
        object_pairs_hook=_with_each_key_once,
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value; use null")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise _Unheld(f"the number {number} is too large; write it as a string")
    return value


def _whole(number: str) -> int:
    if len(number) > LONGEST_NUMBER:
        raise _Unheld(
            f"the number {number[:20]}… has {len(number.lstrip('-')):,} digits; write it as a string"
        )
    return int(number)


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        doubled = next(key for key in keys if keys.count(key) > 1)
        raise _Unheld(
            f"the key {doubled!r} occurs twice in one object; keep one of them, or rename the other"
        )
    return row


def _shown(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
