"""Rows that cannot be trained on: why, and how many there may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ...contracts.counting import counted
from ...contracts.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

#: The reasons by which rows are counted.
Reason: TypeAlias = Literal[
    "no conversation",
    "no turn to train on",
    "empty response",
    "refused by the chat template",
    "left out by the chat template",
    "end of turn inside",
    "wrong weights",
    "wrong labels",
    "not a pair",
    "too long",
    "cut off",
    "no text",
    "end of text inside",
    "held out",
    "other",
]
#: Largest number of rows that an error names.
NAMED = 5


class Unfit(ValueError):
    """A row cannot be trained on. ``reason``: what it is counted by; the message says more."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not trained on. ``id``: its ``_id``."""

    id: str
    reason: Reason
    message: str

    @classmethod
    def of(cls, row: str, error: ValueError) -> LeftOut:
        return cls(row, error.reason if isinstance(error, Unfit) else "other", str(error))


def count_reasons(rows: Sequence[LeftOut]) -> dict[str, int]:
    """Return the number of rows for each reason, the most frequent first."""
    return dict(Counter(row.reason for row in rows).most_common())


def check_share(left_out: Sequence[LeftOut], rows: int, limit: float) -> None:
    """Raise DataError, naming reasons and rows, if a larger share than ``limit`` of all rows is left out."""
    if not left_out or len(left_out) <= limit * rows:
        return
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in count_reasons(left_out).items())
    share = f"; unfit_limit allows {limit:.0%}" if limit else ""
    raised = (
        ""
        if len(left_out) == rows
        else ", remove them with a keep step before training, or raise unfit_limit"
    )
    raise DataError(
        f"{len(left_out):,} of {counted(rows, 'row')} cannot be trained on{share} ({reasons}). "
        f"{_named(left_out)}. Correct them{raised}"
    )


def _named(left_out: Sequence[LeftOut]) -> str:
    """Return each message once, with the first of its rows."""
    rows: dict[str, list[str]] = {}
    for row in left_out:
        rows.setdefault(row.message, []).append(row.id)
    told = []
    for message, ids in list(rows.items())[:NAMED]:
        others = f" and {counted(len(ids) - 1, 'other')}" if len(ids) > 1 else ""
        told.append(f"{ids[0]}{others}: {message}")
    return "; ".join(told)


def as_table(rows: Sequence[LeftOut]) -> pa.Table:
    """Return the rows as a table with the columns ``row``, ``reason`` and ``message``."""
    import pyarrow as pa

    columns: Mapping[str, list[str]] = {
        "row": [each.id for each in rows],
        "reason": [each.reason for each in rows],
        "message": [each.message for each in rows],
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
