"""Which filled columns a format leaves out of the rows that it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...contracts.rows import THOUGHT, turns_in
from ...contracts.stored_rows import StoredRows
from .formats import PREFERENCE_FORMATS
from .reward_formats import NEEDED, TASKS

if TYPE_CHECKING:
    import pyarrow as pa

#: The columns that make up a conversation, of all kinds of rows (`contracts/rows.py`).
_CHAT = (
    "messages", "turns", "prompt", "input", "response", "system", "tools", "solution", "question", "critique",
    "before", "after", "instructions", "style", "chosen",
)  # fmt: skip
#: The columns that other formats read.
_READ: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(PREFERENCE_FORMATS, ("system", "prompt", "chosen", "rejected", "tools")),
    **dict.fromkeys(TASKS, ("messages", "prompt", "response", "system", "tools", *NEEDED)),
}
#: The columns that belong to an answer, and the key of its turn that has the same.
_OF_ANSWERS = {"reasoning": THOUGHT, "tool_calls": "tool_calls"}
_MESSAGES = "messages"
_COUNTS = ("prompt_tokens", "completion_tokens")
#: What a generating step records about each answer, for which no format has a place.
_RECORDED = frozenset({"sample", "item", "finish", "vocab_size", *_COUNTS})


def left_out(rows: StoredRows, form: str, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that the format has no place for, and that have a value in some row.

    What a generating step records about its answers is not among them.
    """
    recorded = _RECORDED if _made_by_step(rows) else ()
    left = [name for name in names if name not in (*_READ.get(form, _CHAT), *recorded)]
    answers = {} if form in _READ else _OF_ANSWERS
    beside = [_MESSAGES] if _MESSAGES in rows.column_names and answers.keys() & set(left) else []
    found: set[str] = set()
    for batch in rows.batches([*left, *beside]) if left and rows.num_rows else ():
        for name in left:
            if name not in found and _lost(batch, name, answers.get(name)):
                found.add(name)
        if len(found) == len(left):
            break
    return [name for name in left if name in found]


def _made_by_step(rows: StoredRows) -> bool:
    """Whether a generating step recorded these columns, and not the user's own file."""
    if not set(_COUNTS) <= set(rows.column_names):
        return False
    first = next(iter(rows.batches(_COUNTS)), None)
    # A file's whole numbers have 64 bits.
    return first is not None and all(str(first[name].type) == "int32" for name in _COUNTS)


def _lost(batch: pa.Table, name: str, key: str | None) -> bool:
    """Whether a row has a value that is in none of its turns. ``key``: where a turn has the same.

    Of rows without ``messages``, what belongs to the answer becomes part of its turn.
    """
    if batch[name].null_count == batch.num_rows:
        return False
    if key is None:
        return True
    if _MESSAGES not in batch.column_names:
        return False
    filled = batch.select([name, _MESSAGES]).filter(batch[name].is_valid()).to_pylist()
    return any(bool(row[name]) and not _turn_has(row[_MESSAGES], key) for row in filled)


def _turn_has(messages: Any, key: str) -> bool:
    return messages is None or any(turn.get(key) for turn in turns_in(messages) or ())
