"""The conversation view of a row: the question and the answer that it holds, as texts, whatever its columns.

An operator that names the columns ``prompt`` or ``response``, by a parameter, in an expression or in a
template, reads them of every row: of a conversation in
``messages``, the prompt is what comes before the last turn of the assistant, and the response is that turn.
The system prompt is no part of the prompt, as it is none of the column ``prompt``. The runner makes these
columns for such an operator; they are no columns of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .chat_rows import joined
from .layouts import exchange_columns
from .operators import Map, Operator, TableMap, WholeTable
from .rows import Row
from .seen_rows import SeenRows
from .stored_rows import StoredRows, TableFunction
from .turns import Turn, text_of, turns_from

if TYPE_CHECKING:
    import pyarrow as pa

#: The columns that are read of conversations too.
VIEWED = ("prompt", "response")
MESSAGES = "messages"
QUESTIONS = ("prompt", "question", "query", "problem", "instruction", "text")
ANSWERS = ("response", "answer", "completion", "output", "solution", "canonical_solution", "target")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one row asks and answers.

    ``prompt``: all that comes before the answer, the turns separated by blank lines. ``rejected``: the answer
    that a preference refuses. ``layout``: the name of the layout.
    """

    layout: str
    prompt: str | None
    response: str | None = None
    rejected: str | None = None


def exchange(row: Mapping[str, Any]) -> Exchange | None:
    """The question and answer of a row, system prompts included; None if it has no layout that is known."""
    found = exchange_columns(row)
    if found is None and row.get("instruction") is not None and row.get("output") is None:
        found = exchange_columns({**row, "output": _first_text(row, ANSWERS)})
    if found is None:
        return _preference(row) if _is_preference(row) else _pair(row)
    layout, columns = found
    if _is_preference(columns):
        return _preference(columns)
    turns = turns_from(columns.get(MESSAGES))
    if turns is not None:
        prompt, response = split(turns)
        name = "messages" if layout in ("messages", "conversational_completion") else layout
        return Exchange(name, joined([text_of(turn) for turn in prompt]), response)
    return Exchange(layout, joined([columns.get("system"), columns.get("prompt")]), columns.get("response"))


def split(turns: Sequence[Turn]) -> tuple[Sequence[Turn], str | None]:
    """(the turns before the last one of the assistant, the text of that turn, or None)."""
    last = max((place for place, turn in enumerate(turns) if turn.get("role") == "assistant"), default=None)
    return (turns, None) if last is None else (turns[:last], text_of(turns[last]))


def texts_of(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The question and the answer of a row, to show: of its columns, or of its conversation."""
    own = row.get("prompt"), row.get("response") or row.get("chosen")
    read = _texts(row.get(MESSAGES))
    prompt, response = (text if value in (None, "") else value for value, text in zip(own, read))
    return _shown(prompt), _shown(response)


def _shown(value: object) -> str | None:
    turns = turns_from(value)
    if turns is not None:
        return joined([text_of(turn) for turn in turns])
    return None if value is None else str(value)


def _is_preference(row: Mapping[str, Any]) -> bool:
    return row.get("chosen") is not None and row.get("rejected") is not None


def _preference(row: Mapping[str, Any]) -> Exchange:
    before = turns_from(row.get("prompt"))
    asked = [text_of(turn) for turn in before] if before else [_first_text(row, QUESTIONS)]
    chosen, rejected = (_answer(row[name]) for name in ("chosen", "rejected"))
    return Exchange("preference", joined([None if before else row.get("system"), *asked]), chosen, rejected)


def _answer(value: Any) -> str | None:
    turns = turns_from([value] if isinstance(value, Mapping) else value)
    if turns is not None:
        return split(turns)[1]
    return value if isinstance(value, str) else None


def _pair(row: Mapping[str, Any]) -> Exchange | None:
    """A column with a question, and one with an answer if the row has it."""
    asked, answered = _first_text(row, QUESTIONS), _first_text(row, ANSWERS)
    if asked is None:
        return None
    name = "pair" if answered is not None else "prompt"
    return Exchange(name, joined([row.get("system"), asked]), answered)


def _first_text(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((row[name] for name in names if isinstance(row.get(name), str)), None)


# --- the view of an operator ---------------------------------------------------------------------


def viewed(operator: Operator, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that the operator reads of the conversations of its rows, which have these ``columns``."""
    if MESSAGES not in columns or not isinstance(operator, (Map, TableMap, WholeTable)):
        return ()
    used = {*operator.uses_columns(), *operator.names_columns()} - set(operator.replaces_columns())
    return tuple(name for name in VIEWED if name in used)


def view(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The table with ``names`` (of ``VIEWED``), where a row has none, read of its ``messages``."""
    import pyarrow as pa

    lacking = [name for name in names if name not in table.column_names or table[name].null_count]
    if not lacking or MESSAGES not in table.column_names or pa.types.is_null(table[MESSAGES].type):
        return table
    found = {name: table[name].to_pylist() if name in table.column_names else [] for name in lacking}
    read = [_texts(messages) for messages in table[MESSAGES].to_pylist()]
    for name in lacking:
        texts = [each[VIEWED.index(name)] for each in read]
        own = found[name] or [None] * len(texts)
        column = pa.array([text if value is None else value for value, text in zip(own, texts)])
        if pa.types.is_null(column.type):
            column = column.cast(pa.string())
        place = table.schema.get_field_index(name)
        table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
    return table


def view_of_rows(rows: list[Row], names: Sequence[str]) -> list[Row]:
    """The rows with ``names`` read of their ``messages`` as :func:`view` does."""
    if not names:
        return rows
    made: list[Row] = []
    for row in rows:
        lacking = [name for name in names if row.get(name) is None]
        texts = _texts(row.get(MESSAGES)) if lacking else (None, None)
        made.append({**row, **{name: texts[VIEWED.index(name)] for name in lacking}})
    return made


def _texts(messages: object) -> tuple[str | None, str | None]:
    turns = turns_from(messages)
    if turns is None:
        return None, None
    before, response = split(turns)
    return joined([text_of(turn) for turn in before if turn["role"] != "system"]), response


class ViewedRows(SeenRows):
    """Stored rows with columns that are read of their conversations, when they are asked for.

    ``derived``: those of ``names`` that the rows do not have at all.
    """

    def __init__(self, rows: StoredRows, names: Sequence[str]) -> None:
        super().__init__(rows, list(dict.fromkeys([*rows.column_names, *names])))
        self._names = tuple(names)
        self.derived = frozenset(names) - frozenset(rows.column_names)

    def _see(self, columns: Sequence[str] | None) -> TableFunction:
        return partial(_viewed, self._wanted(columns), self._names)

    def _wanted(self, columns: Sequence[str] | None) -> tuple[str, ...]:
        return tuple(self.column_names if columns is None else columns)

    def _stored(self, columns: Sequence[str] | None) -> list[str]:
        """The columns to read for those that are wanted."""
        wanted = self._wanted(columns)
        read = [MESSAGES] if set(wanted) & set(self._names) else []
        return list(dict.fromkeys(name for name in (*wanted, *read) if name in self._rows.column_names))


def _viewed(wanted: Sequence[str], names: Sequence[str], table: pa.Table) -> pa.Table:
    """The wanted columns, and those that the rows bring by themselves (``_row``)."""
    own = [name for name in table.column_names if name.startswith("_") and name not in wanted]
    return view(table, [name for name in names if name in wanted]).select([*wanted, *own])
