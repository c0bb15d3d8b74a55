"""The Arrow schemas of the formats: a column or a key of a turn that no row has is not written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError
from ...contracts.rows import Row
from ...contracts.stored_rows import StoredRows
from .formats import FORMATS, PREFERENCE, Format
from .reward_formats import TASKS
from .turns import Turn, beside_text, name_of

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 4096
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "prompt_completion": ("system", "prompt", "completion", "reasoning"),
    "alpaca": ("system", "instruction", "input", "output", "reasoning"),
    "prompt_chosen_rejected": ("system", *PREFERENCE, "tools"),
}
#: Columns of a format that it has only if a row has a value there.
_OPTIONAL = ("system", "tools", "reasoning")
#: The columns of rows that may bring them.
_BRINGING = ("system", "messages", "turns", "reasoning")


def schema_of(rows: StoredRows, form: Format) -> pa.Schema:
    """The schema of these rows in a format other than ``rows``.

    All rows are read where it depends on them. Raises DataError for a row that does not fit the format.
    """
    import pyarrow as pa

    if form in TASKS:
        turns, *texts = TASKS[form]
        told = [(name, pa.string()) for name in texts]
        return pa.schema([(turns, pa.list_(pa.struct(_turn()))), *told])
    found = _Filled()
    for row in _rows(rows) if _varies(rows, form) else ():
        found.add(row, FORMATS[form](row))
        if (
            form in ("alpaca", "prompt_completion") and {"system", "reasoning"} <= found.filled
        ):  # all they may have
            break
    own = [(name, pa.string()) for name in _TEXTS.get(form, ())]
    turns = pa.list_(pa.struct([*_turn(), *found.types.items()]))
    if form == "messages":
        own = [("messages", turns), ("tools", pa.string())]
    if form == "prompt_completion_turns":
        own = [("prompt", turns), ("completion", turns), ("tools", pa.string())]
    if form == "prompt_chosen_rejected_turns" or (form == "prompt_chosen_rejected" and found.turns):
        own = [*((name, turns) for name in PREFERENCE), ("tools", pa.string())]
    if form == "sharegpt":
        turn = pa.struct([("from", pa.string()), ("value", pa.string())])
        own = [("conversations", pa.list_(turn)), ("tools", pa.string()), ("reasoning", pa.string())]
    return pa.schema([(name, kind) for name, kind in own if name not in _OPTIONAL or name in found.filled])


class _Filled:
    """What the records of a format hold. ``filled``: optional columns; ``types``: of the keys of turns;
    ``turns``: whether there are any."""

    def __init__(self) -> None:
        self.filled: set[str] = set()
        self.turns = False
        self.types: dict[str, pa.DataType] = {}

    def add(self, row: Row, record: Row) -> None:
        self.filled |= {name for name in _OPTIONAL if record.get(name) is not None}
        for turn in _turns_of(record):
            self.turns = True
            for key in beside_text(turn):
                kind = _calls() if key == "tool_calls" else _scalar(turn[key])
                known = self.types.setdefault(key, kind)
                if {str(known), str(kind)} == {"int64", "double"}:
                    self.types[key] = _scalar(0.5)
                elif known != kind:
                    raise DataError(
                        f"a turn has {key!r} of type {kind}, and one before it of type {known}: make them "
                        "one type, or use format: rows",
                        row=name_of(row),
                    )


def _turns_of(record: Row) -> Iterator[Turn]:
    for name in ("messages", "completion", *PREFERENCE):
        if isinstance(record.get(name), list):
            yield from record[name]


def _rows(rows: StoredRows) -> Iterator[Row]:
    for table in rows.batches():
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
            yield from batch.to_pylist()


def _varies(rows: StoredRows, form: Format) -> bool:
    """Whether the schema depends on the values of the rows."""
    names = set(rows.column_names)
    if not rows.num_rows:
        return False
    if form == "prompt_chosen_rejected_turns":
        return True
    if form == "prompt_chosen_rejected":
        texts = rows.batches([name for name in PREFERENCE if name in names])
        kinds = next(texts).select([name for name in PREFERENCE if name in names]).schema.types
        return bool(names & {"system", "tools"}) or not all(map(_is_text, kinds))
    if form in _TEXTS:
        return bool(names & set(_BRINGING))
    if names & {"tools", "reasoning", "tool_calls"}:
        return True
    turns = [name for name in ("messages", "turns") if name in names]
    return bool(turns) and any(map(_has_more, next(rows.batches(turns)).select(turns).schema.types))


def _has_more(kind: pa.DataType) -> bool:
    """Whether the turns of a column may hold more than their roles and texts."""
    import pyarrow as pa

    plain = pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)
    return not plain or {field.name for field in kind.value_type} != {"role", "content"}


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _turn() -> list[tuple[str, pa.DataType]]:
    import pyarrow as pa

    return [("role", pa.string()), ("content", pa.string())]


def _calls() -> pa.DataType:
    import pyarrow as pa

    text = pa.string()
    function = pa.struct([("name", text), ("arguments", text)])
    return pa.list_(pa.struct([("id", text), ("type", text), ("function", function)]))


def _scalar(value: Any) -> pa.DataType:
    import pyarrow as pa

    return pa.scalar(value).type
