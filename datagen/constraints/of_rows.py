"""The checks of a row: its ``constraints``, or the instructions of an IFEval item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...contracts.errors import DataError
from ...contracts.rows import Row
from .check import Check
from .ifeval import IFEVAL
from .kinds import constraint_from, constraints_from

#: What rows with constraints have, and what IFEval's items have instead.
CONSTRAINTS = "constraints"
INSTRUCTIONS = "instruction_id_list"
PARAMETERS = "kwargs"


def checks_of(row: Row) -> list[Check]:
    """Return the checks in their order. A row with both forms is read by its ``constraints``.

    Raises DataError, naming the column, if there are none or one of them cannot be read; MissingPackage if
    one of them needs a package that is not installed.
    """
    if INSTRUCTIONS in row and CONSTRAINTS not in row:
        return _ifeval(row)
    text = row.get(CONSTRAINTS)
    if not isinstance(text, str):
        found = f"holds {type(text).__name__}" if CONSTRAINTS in row else "is missing"
        raise DataError(
            f"column {CONSTRAINTS!r} {found}; rows come from `source: constraints`, or are items of IFEval "
            f"with the columns {INSTRUCTIONS!r} and {PARAMETERS!r}"
        )
    return constraints_from(text)


def _ifeval(row: Row) -> list[Check]:
    ids, parameters = _list(row, INSTRUCTIONS), _list(row, PARAMETERS)
    if not ids or len(ids) != len(parameters):
        raise DataError(
            f"column {PARAMETERS!r} must have one object for each instruction in {INSTRUCTIONS!r}: found "
            f"{len(parameters)} for {len(ids)}"
        )
    return [_check(name, given) for name, given in zip(ids, parameters)]


def _list(row: Row, column: str) -> list[Any]:
    """The list in the column, which may also be JSON text (``as_json``)."""
    value = row.get(column)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DataError(f"column {column!r} is not JSON text: {error}") from None
    if not isinstance(value, list):
        found = f"holds {type(value).__name__}" if column in row else "is missing"
        raise DataError(f"column {column!r} {found}; an item of IFEval has a list there")
    return value


def _check(name: object, given: object) -> Check:
    if not isinstance(name, str) or name not in IFEVAL:
        raise DataError(f"unknown instruction {name!r} of IFEval; known: {', '.join(sorted(IFEVAL))}")
    if given is not None and not isinstance(given, Mapping):
        raise DataError(f"column {PARAMETERS!r}: {name!r} has {type(given).__name__} instead of an object")
    # A table gives every instruction the columns of all others, without a value.
    own = {key: value for key, value in (given or {}).items() if value is not None}
    return constraint_from({**own, "kind": name})
