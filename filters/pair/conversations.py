"""Answers in conversations as rows that can be paired, and the pairs with turns in place of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from ...contracts.exchanges import MESSAGES, split
from ...contracts.outcomes import NewRows
from ...contracts.rows import Row
from ...contracts.turns import Turn, ordered_json, turns_from

if TYPE_CHECKING:
    import pyarrow as pa

#: A column with the turns before the answer as JSON text, which is equal for answers to one conversation.
ASKED = "_asked"
#: The turns before the assistant's last one, and that turn.
_Exchange: TypeAlias = tuple[list[Turn] | None, list[Turn]]


def with_asked(table: pa.Table) -> pa.Table:
    """The rows with the column ``ASKED``, null for those without turns before an answer."""
    import pyarrow as pa

    asked = [ordered_json(prompt) if prompt else None for prompt, _ in _exchanges(table)]
    return table.append_column(ASKED, pa.array(asked, pa.string()))


def as_turns(made: NewRows, table: pa.Table) -> NewRows:
    """The pairs of rows of the table, with turns in place of texts."""
    of_row = dict(zip(table["_id"].to_pylist(), _exchanges(table)))
    rows: list[Row] = []
    for row, (better, worse) in zip(made.rows, made.parents, strict=True):
        turns = {"prompt": of_row[better][0], "chosen": of_row[better][1], "rejected": of_row[worse][1]}
        rows.append({**row, **turns})
    return replace(made, rows=rows)


def _exchanges(table: pa.Table) -> Sequence[_Exchange]:
    return [_exchange(messages) for messages in table[MESSAGES].to_pylist()]


def _exchange(messages: object) -> _Exchange:
    turns = turns_from(messages)
    if turns is None:
        return None, []
    before = split(turns)[0]
    return list(before), turns[len(before) : len(before) + 1]
