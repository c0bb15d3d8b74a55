"""A ``.json`` file of one object that is a whole table: it names its rows, or has a list for each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ...contracts.counting import counted
from ...contracts.errors import DataError
from ...contracts.turns import is_turns
from .json_array import ENDINGS
from .json_lines import LineBlock, checked, rows_of
from .locations import File

#: The keys under which tools write all rows, if there are other keys beside them.
_ROWS = (
    "data", "rows", "examples", "instances", "items", "records", "samples", "train", "test", "validation",
)  # fmt: skip
_OR = "or read the object as one row with `format: as_is`"


def refuse_tables(files: Sequence[File]) -> None:
    """Raise DataError for a file of one object that seems to hold several rows."""
    for file in files:
        if not file.path.endswith(ENDINGS):
            continue
        found = [row for row, _, _ in islice(rows_of(LineBlock(file), checked), 2)]
        if len(found) == 1 and (what := _table(found[0])):
            raise DataError(f"{file.name}: one object, {what}, {_OR}")


def _table(row: Mapping[str, Any]) -> str | None:
    """What the object seems to be instead of a row, and the fix; None if it seems to be a row."""
    for key in [*_ROWS, *row] if len(row) == 1 else _ROWS:
        value = row.get(key)
        objects = isinstance(value, list) and all(isinstance(each, dict) for each in value)
        if value and objects and not is_turns(value):
            return (
                f"with a list of {counted(len(value), 'object')} in {key!r}: if these are the rows, write "
                f"the list alone (as `jq '.{key}'` does)"
            )
    parts = _parts(list(row.values()))
    if parts > 1:
        return (
            f"whose {len(row):,} values all have {parts:,} parts: if these are columns, write one object per "
            'row (as pandas does with `to_json(orient="records", lines=True)`)'
        )
    return None


def _parts(values: Sequence[Any]) -> int:
    """The number of parts of each of several values, if all are lists or have the same keys; else 0."""
    lists = all(isinstance(value, list) and not is_turns(value) for value in values)
    objects = all(isinstance(value, dict) for value in values)
    if len(values) < 2 or not (lists or objects):
        return 0
    alike = {len(value) if lists else tuple(value) for value in values}
    return len(values[0]) if len(alike) == 1 else 0
