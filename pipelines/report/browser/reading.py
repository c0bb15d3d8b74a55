"""Reads single rows of a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from ..gather import Step


@dataclass(order=True, frozen=True)
class RowPlace:
    """Where a row is: its part, and its place in it. They are ordered by rank."""

    rank: int
    part: int
    row: int


def rank(id: str) -> int:
    """A number that is random for a row, and always the same."""
    return crc32(id.encode())


def rows_at(
    step: Step, places: Iterable[RowPlace], columns: Sequence[str]
) -> Iterator[tuple[RowPlace, dict[str, Any]]]:
    """The rows at these places, in the order of the step, with ``_id``, ``_reason`` and the columns."""
    by_part: dict[int, list[RowPlace]] = {}
    for place in places:
        by_part.setdefault(place.part, []).append(place)
    parts = step.store.parts()
    for number, here in sorted(by_part.items()):
        here.sort(key=lambda place: place.row)
        table = parts[number].read(["_id", "_reason", *columns], None)
        yield from zip(here, table.take([place.row for place in here]).to_pylist(), strict=True)
