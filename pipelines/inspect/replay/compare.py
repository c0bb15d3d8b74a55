"""Compares a stored step with the same step made again, byte by byte, down to the first row that differs."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ....contracts.errors import GristmillError
from ....contracts.nearest import brief
from ...store.files import read_bytes
from ...store.parts import ID, open_part
from ...store.step_store import StepStore


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A stored file that is not what the step makes. ``row``: the ``_id`` of the first row that differs.

    ``what``: what differs, in words; ``column`` and ``row`` are empty if it is not in the rows.
    """

    file: str
    what: str
    column: str = ""
    row: str = ""


def differences(stored: StepStore, made: StepStore) -> Iterator[FileDifference]:
    """Each stored part that differs from that of the step made again. ``made`` is sound."""
    again = {path.name: path for path in made.files()}
    there = {path.name: path for path in stored.files()}
    for name in sorted({*again, *there}):
        if name not in there:
            yield FileDifference(name, "it is missing")
        elif name not in again:
            yield FileDifference(name, "the step makes no such part")
        elif read_bytes(there[name]) != read_bytes(again[name]):
            yield _first(there[name], again[name])


def exported(stored: StepStore, made: StepStore, replaced: Container[str]) -> Iterator[FileDifference]:
    """Each exported file that differs. ``replaced``: the paths that later rounds exported to."""
    if len(stored.products()) != len(made.products()):
        yield FileDifference(stored.name, "the export makes another number of files")
    for old, new in zip(stored.products(), made.products(), strict=False):
        if old.digest != new.digest:
            yield FileDifference(old.path, "the export makes other bytes")
        elif old.path not in replaced and not old.holds(stored.run):
            yield FileDifference(old.path, "its bytes are not those that were written")


def _first(stored: Path, made: Path) -> FileDifference:
    """The first row in which two parts differ."""
    table = pq.read_table(pa.BufferReader(read_bytes(made)), use_threads=False)
    names = table[ID].to_pylist()
    unreadable = []
    for column in table.column_names:
        old = _column(stored, column)
        if old is None:
            unreadable.append(column)
            continue
        now = table[column]
        if len(old) != len(now):
            return FileDifference(stored.name, f"it has {len(old):,} rows, and the step makes {len(now):,}")
        if not old.equals(now):
            was, new = old.to_pylist(), now.to_pylist()
            at = next((row for row in range(len(new)) if repr(was[row]) != repr(new[row])), None)
            if at is not None:
                what = f"it holds {brief(was[at])}, and the step makes {brief(new[at])}"
                return FileDifference(stored.name, what, column, names[at])
    if unreadable:
        rows = f"{len(names):,} rows from {names[0]} to {names[-1]}" if names else "no rows"
        what = f"its values cannot be read: they are those of {rows}"
        return FileDifference(stored.name, what, ", ".join(unreadable), names[0] if names else "")
    return FileDifference(stored.name, _footer(stored, made))


def _column(path: Path, name: str) -> pa.ChunkedArray | None:
    """A column as it is stored, whatever the seal of the file says; None if it cannot be read."""
    try:
        return pq.ParquetFile(pa.BufferReader(read_bytes(path))).read([name], use_threads=False)[name]
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None


def _footer(stored: Path, made: Path) -> str:
    """What differs besides the rows."""
    try:
        old, new = open_part(stored), open_part(made)
    except GristmillError as error:
        return f"its footer cannot be read: {error}"
    names: dict[str, tuple[Any, Any]] = {
        name: (getattr(old, name), getattr(new, name))
        for name in ("step", "basis", "origin", "ledger", "usage", "summary", "products")
    }
    told = [name for name, (one, other) in names.items() if one != other]
    if told == ["origin"]:
        return "its rows are equal, and it was made from other rows than those that are stored before it"
    return f"its rows are equal; what differs: {', '.join(told) or 'its bytes'}"
