"""Rows counted by the values of a column, now and as another condition or threshold would keep them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError
from ..report.gather import RunData, Step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ValueGroup:
    """Rows with the same value of the grouping column (``None``: rows without a value)."""

    name: str | None
    rows: int
    now: int
    then: int


def grouping(data: RunData, by: str | None) -> str | None:
    """The column to group by: ``by``, else ``cluster`` if a step has it.

    Raises DataError if no step has the column ``by``.
    """
    column = "cluster" if by is None else by
    if _holders(data, column):
        return column
    if by is None:
        return None
    raise DataError(f"no step of this run has a column {by!r} to group by")


def value_groups(
    data: RunData, ids: Sequence[str], column: str, now: NDArray[np.bool_], then: NDArray[np.bool_]
) -> tuple[ValueGroup, ...]:
    """The groups of the rows ``ids``, the largest first; any step may have their values in ``column``."""
    said: dict[str, Any] = {}
    for step in _holders(data, column):
        rows = step.table(["_id", column], None)
        said |= {
            name: value
            for name, value in zip(rows["_id"].to_pylist(), rows[column].to_pylist())
            if value is not None
        }
    counts: dict[str | None, list[int]] = {}
    for name, was, will in zip(ids, now, then):
        value = said.get(name)
        count = counts.setdefault(None if value is None else str(value), [0, 0, 0])
        count[0] += 1
        count[1] += int(was)
        count[2] += int(will)
    ordered = sorted(counts.items(), key=lambda each: (each[0] is None, -each[1][0], each[0] or ""))
    return tuple(ValueGroup(name, *count) for name, count in ordered)


def _holders(data: RunData, column: str) -> list[Step]:
    return [step for each in data.rounds for step in each.steps if column in step.columns]
