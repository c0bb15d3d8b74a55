"""Reads single rows of a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from ..gather import Step


@dataclass(order=True, frozen=True)
class Place:
    """Where a row is: its part, and its place in it. The order is random, but always the same for an id."""

    rank: int
    part: int = field(compare=False)
    row: int = field(compare=False)

    @classmethod
    def of(cls, id: str, part: int, row: int) -> Place:
        return cls(int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "big"), part, row)


def rows_at(
    step: Step, places: Iterable[Place], columns: Sequence[str]
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The rows at these places, in the order of the step, with ``_id``, ``_reason`` and the columns."""
    by_part: dict[int, list[Place]] = {}
    for place in places:
        by_part.setdefault(place.part, []).append(place)
    parts = step.store.parts()
    for number, here in sorted(by_part.items()):
        here.sort(key=lambda place: place.row)
        table = parts[number].read(["_id", "_reason", *columns], None)
        yield from zip(here, table.take([place.row for place in here]).to_pylist(), strict=True)
