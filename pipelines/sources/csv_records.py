"""The records of CSV files, each with its line; one that cannot be read is one record with the reason."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any

from ...contracts.errors import DataError
from .locations import UNREADABLE, File, unreadable

#: Maximum length of a record in characters. A quote that is never closed would reach to the file's end.
LONGEST = 64 << 20
_SHOWN = 60
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: Delimiters that a header of one column may have been meant to have.
_USUAL = (";", "\t", "|", ",")


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How files are written. ``delimiter``: None for a tab in ``.tsv`` files and a comma in others.

    ``quote``: None if no field is quoted. ``names``: of the columns, if files have no header.
    """

    delimiter: str | None
    quote: str | None
    encoding: str
    names: tuple[str, ...] | None

    def delimiter_of(self, file: File) -> str:
        tabs = ".tsv" in file.name.rpartition("/")[2]
        return self.delimiter or ("\t" if tabs else ",")


@dataclass(frozen=True, slots=True)
class CsvRecord:
    """``fields``: None if it cannot be read. ``wrong``: why not. ``size``: its length in characters."""

    line: int
    fields: list[str] | None
    wrong: str
    size: int


def records(file: File, dialect: CsvDialect) -> Iterator[CsvRecord]:
    """The records of a file, without blank lines. Raises DataError if the file cannot be read."""
    csv.field_size_limit(LONGEST)
    line = 0
    with file.open_decompressed() as stream:
        text = _decoded(stream, dialect.encoding)
        try:
            lines = iter(text)
            waiting: deque[str] = deque()
            while True:
                taken: list[str] = []
                fields, wrong = _parsed(chain(_taking(waiting), lines), taken, file, dialect)
                if not taken:
                    return
                if wrong and len(taken) > 1:  # go on after the first line of it
                    waiting.extendleft(reversed(taken[1:]))
                    del taken[1:]
                if fields or wrong:
                    told = f"{wrong}: {_shown(taken[0], dialect.encoding)}" if wrong else ""
                    yield CsvRecord(line + 1, None if wrong else fields, told, sum(map(len, taken)))
                line += len(taken)
        except UnicodeError as error:
            marked = dialect.encoding == "utf-8"
            fix = "is it complete?" if marked else "change or leave out `encoding:`"
            raise DataError(f"{file.name}:{line + 1}: cannot be read as {text.encoding}: {fix}") from error
        except UNREADABLE as error:
            raise DataError(f"{file.name}:{line + 1}: {unreadable(error)}") from error


def header(file: File, dialect: CsvDialect, found: Iterator[CsvRecord]) -> Sequence[str] | None:
    """The names of the columns: those of the dialect, or of the first record; None if there is none.

    Raises DataError for a header that names no columns.
    """
    if dialect.names is not None:
        return dialect.names
    first = next(found, None)
    if first is None:
        return None
    where = f"{file.name}:{first.line}"
    if first.fields is None:
        raise DataError(f"{where}: the header cannot be read: {first.wrong}")
    names = [name.strip() or f"column_{number}" for number, name in enumerate(first.fields, 1)]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise DataError(
            f"{where}: two columns of the header are called {doubled!r}: rename one in the file or, if its "
            "first row is no header, name the columns with `names: [...]`"
        )
    meant = next((each for each in _USUAL if len(names) == 1 and each in names[0]), None)
    if meant is not None:
        raise DataError(
            f"{where}: the header is one column, {names[0]!r:.60}: say what separates its columns with "
            f"`delimiter: {meant!r}`"
        )
    return names


def _decoded(stream: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """The text of a file. A byte that is not of the encoding becomes a lone surrogate."""
    buffered: Any = stream if hasattr(stream, "peek") else io.BufferedReader(stream)
    wide = encoding == "utf-8" and buffered.peek(2)[:2] in _UTF16
    name = "utf-16" if wide else "utf-8-sig" if encoding == "utf-8" else encoding
    return io.TextIOWrapper(buffered, name, errors="surrogateescape", newline="")


def _taking(waiting: deque[str]) -> Iterator[str]:
    while waiting:
        yield waiting.popleft()


def _parsed(lines: Iterator[str], taken: list[str], file: File, dialect: CsvDialect) -> tuple[list[str], str]:
    """The fields of the next record, and what is wrong with it. ``taken``: gets the lines that it is of."""

    def noted() -> Iterator[str]:
        size = 0
        for line in lines:
            taken.append(line)
            size += len(line)
            if size > LONGEST:
                raise csv.Error(
                    f"a record of more than {LONGEST:,} characters (close the quote, or split the file)"
                )
            yield line

    reader = csv.reader(
        noted(),
        delimiter=dialect.delimiter_of(file),
        quotechar=dialect.quote,
        quoting=csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL,
        strict=True,
    )
    try:
        fields = next(reader, [])
    except csv.Error as error:
        opened = "unexpected end of data" in str(error)
        return [], "a quote opens here and is never closed" if opened else str(error)
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return [], f"not {dialect.encoding}: give its `encoding:`, such as `cp1252`"
    return fields, ""


def _shown(line: str, encoding: str) -> str:
    """The beginning of a line: its bytes, if some are not of the encoding."""
    text = line.rstrip("\r\n")
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    try:
        shown.encode()
    except UnicodeEncodeError:
        return repr(text[:_SHOWN].encode(encoding, "surrogateescape")) + "…" * (len(text) > _SHOWN)
    return repr(shown)
