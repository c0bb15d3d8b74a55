"""Turns the outcomes of an operator into the table that is committed: ids, parents, fates, columns.

Columns that an operator did not change stay in Arrow; only added values pass through Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ...contracts.counting import counted
from ...contracts.errors import DataError
from ...contracts.operators import FAILURE, Map, Operator
from ...contracts.outcomes import Failed, Filtered, Kept, NewRows, Outcome
from ...contracts.printable import printable, shown
from ...contracts.rows import Row
from ...contracts.turns import typed_turns
from ..store.parts import FAILED, FATE, FILTERED, ID, KEPT, PARENTS, REASON, REASON_TYPE

RESERVED = (ID, PARENTS, FATE, REASON)


def row_id(fingerprint: str, parents: Sequence[str], ordinal: int) -> str:
    """A row's ``_id``: 20 hex digits derived from the step, the parents and the ordinal."""
    text = f"{fingerprint}|{','.join(parents)}|{ordinal}"
    return blake2b(text.encode(), digest_size=10).hexdigest()


def from_source(batch: pa.Table, fingerprint: str, start: int) -> pa.Table:
    """New rows from a source, numbered from ``start``: kept, unless ``FAILURE`` says why one is not.

    Each id is a prefix of the step and the row's number, so a million of them are cheap.
    """
    failures: list[str | None] = []
    if FAILURE in batch.column_names:
        failures = batch[FAILURE].to_pylist()
        batch = batch.drop_columns([FAILURE])
    check_columns(batch.column_names)
    stem = blake2b(fingerprint.encode(), digest_size=5).hexdigest()
    numbers = pa.array(np.arange(start, start + batch.num_rows)).cast(pa.string())
    ids = pa.compute.binary_join_element_wise(stem, pa.compute.utf8_lpad(numbers, 10, "0"), "")
    table = batch.append_column(ID, ids)
    offsets = pa.array(np.zeros(batch.num_rows + 1, np.int32))
    table = table.append_column(PARENTS, pa.ListArray.from_arrays(offsets, pa.array([], pa.string())))
    reasons = [None if error is None else error_reason(Failed(error)) for error in failures]
    if not any(reasons):
        return all_kept(table)
    return with_fates(table, [KEPT if reason is None else FAILED for reason in reasons], reasons)


def from_outcomes(
    table: pa.Table,
    rows: Sequence[Row],
    outcomes: Sequence[Sequence[Outcome]],
    *,
    fingerprint: str,
    makes_rows: bool,
    types: Mapping[str, pa.DataType],
) -> pa.Table:
    """The table from a map's ``outcomes`` for ``table`` (with rows ``rows``): one list of outcomes per row.

    Raises DataError if the operator broke its contract (no outcome for a row, or several from
    an operator that annotates).
    """
    if len(outcomes) != len(rows):
        raise DataError(
            f"the operator got {counted(len(rows), 'row')} and returned outcomes for {len(outcomes)}"
        )
    parent: list[int] = []
    flat: list[Outcome] = []
    for index, answers in enumerate(outcomes):
        if not answers or (len(answers) > 1 and not makes_rows):
            wanted = "at least one outcome" if makes_rows else "exactly one outcome"
            raise DataError(
                f"got {len(answers)} outcomes; the operator must return {wanted} per row", row=rows[index][ID]
            )
        parent.extend([index] * len(answers))
        flat.extend(answers)
    result = table.take(pa.array(parent, pa.int64())) if makes_rows else table
    result = _with_columns(result, [rows[index] for index in parent], flat, types)
    if makes_rows:
        parents = [rows[index][ID] for index in parent]
        ordinals = [ordinal for answers in outcomes for ordinal in range(len(answers))]
        ids = [row_id(fingerprint, [name], ordinal) for name, ordinal in zip(parents, ordinals, strict=True)]
        result = put(result, ID, pa.array(ids, pa.string()))
        result = put(result, PARENTS, pa.array([[name] for name in parents], pa.list_(pa.string())))
    return with_fates(result, [_fate(outcome) for outcome in flat], [_reason(outcome) for outcome in flat])


def of_no_rows(table: pa.Table, operator: Operator) -> pa.Table:
    """A step's output for a table without rows: the input's columns and those that a map declares."""
    for name, kind in operator.types().items() if isinstance(operator, Map) else ():
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(0, kind))
    return all_kept(table)


def from_new_rows(table: pa.Table, made: NewRows, *, fingerprint: str) -> pa.Table:
    """Rows made from several parents, followed by the input rows that have no children."""
    children = pa.Table.from_pylist([dict(row) for row in made.rows])
    check_columns(children.column_names)
    known = set(table[ID].to_pylist())
    used = {parent for parents in made.parents for parent in parents}
    missing = known - used - set(made.unused)
    if missing or not used <= known:
        raise DataError(
            f"{len(missing)} input rows are unaccounted for and {len(used - known)} parents are "
            "not input rows"
        )
    ids = [row_id(fingerprint, parents, ordinal) for ordinal, parents in enumerate(made.parents)]
    if made.rows:
        children = put(children, ID, pa.array(ids, pa.string()))
        children = put(children, PARENTS, pa.array([list(p) for p in made.parents], pa.list_(pa.string())))
        children = all_kept(children)
    left = table.filter(pa.array([name in made.unused for name in table[ID].to_pylist()], pa.bool_()))
    outcomes = [made.unused[name] for name in left[ID].to_pylist()]
    left = with_fates(left, [_fate(each) for each in outcomes], [_reason(each) for each in outcomes])
    return pa.concat_tables([children, left] if made.rows else [left], promote_options="permissive")


def failed_rows(table: pa.Table, error: str, *, retryable: bool) -> pa.Table:
    """The table in which every row of ``table`` failed for the same reason."""
    reason = _reason(Failed(error, retryable))
    return with_fates(table, [FAILED] * table.num_rows, [reason] * table.num_rows)


def kept_rows(table: pa.Table) -> pa.Table:
    """The kept rows of a committed table, in the form that the next step gets."""
    if REASON in table.column_names:
        table = table.filter(pa.compute.equal(table[FATE], KEPT)).drop_columns([REASON])
    return table.drop_columns([FATE])


def all_kept(table: pa.Table) -> pa.Table:
    """Append the fate of rows that are all kept; a reason column would be empty and is left out."""
    return put(table, FATE, pa.repeat(pa.scalar(KEPT), table.num_rows))


def with_fates(table: pa.Table, fates: Sequence[str], reasons: Sequence[Any]) -> pa.Table:
    """Append the fate and reason columns."""
    if all(reason is None for reason in reasons):
        return all_kept(table)
    table = put(table, FATE, pa.array(fates, pa.string()))
    return put(table, REASON, pa.array(reasons, REASON_TYPE))


def check_columns(names: Sequence[str] | Mapping[str, Any]) -> None:
    """Raise DataError if an operator sets a column that is reserved for Gristmill."""
    taken = sorted(set(names) & set(RESERVED))
    if taken:
        raise DataError(f"it sets the column {taken[0]!r}, which is reserved: rename it")


def _with_columns(
    table: pa.Table,
    rows: Sequence[Row],
    outcomes: Sequence[Outcome],
    types: Mapping[str, pa.DataType],
) -> pa.Table:
    """``table`` with the columns that the outcomes added or changed."""
    changed: dict[str, None] = {}
    for row, outcome in zip(rows, outcomes, strict=True):
        for name, value in outcome.row.items():
            if name not in changed and (name not in row or row[name] is not value):
                changed[name] = None
    check_columns(changed)
    for name in changed:
        values = [
            outcome.row[name] if name in outcome.row else row.get(name)
            for row, outcome in zip(rows, outcomes, strict=True)
        ]
        try:
            values = [typed_turns(value) for value in values]
            column = pa.array(values, _type_of(values, types.get(name)))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise DataError(
                f"the values of column {name!r} are of different types ({error}): give them one, or "
                "make them "
                "JSON text"
            ) from error
        table = put(table, name, column)
    return table


def _type_of(values: Sequence[Any], declared: pa.DataType | None) -> pa.DataType | None:
    """The declared type of a column; for turns, with every key that one has. Arrow would drop others."""
    if declared is None or not pa.types.is_list(declared) or not pa.types.is_struct(declared.value_type):
        return declared
    try:
        schemas = [pa.schema([("", kind)]) for kind in (declared, pa.infer_type(values))]
        return pa.unify_schemas(schemas, promote_options="permissive").field("").type
    except pa.ArrowException:
        return declared


def put(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The table with a column added or replaced."""
    index = table.schema.get_field_index(name)
    return table.append_column(name, column) if index < 0 else table.set_column(index, name, column)


def _fate(outcome: Outcome) -> str:
    if isinstance(outcome, Kept):
        return KEPT
    return FILTERED if isinstance(outcome, Filtered) else FAILED


def _reason(outcome: Outcome) -> dict[str, Any] | None:
    if isinstance(outcome, Filtered):
        return {"rule": printable(outcome.rule), "score": outcome.score, "duplicate_of": outcome.duplicate_of}
    return error_reason(outcome) if isinstance(outcome, Failed) else None


def error_reason(failed: Failed) -> dict[str, Any]:
    """The reason of a row that failed."""
    # Secrets are removed before the message is shortened, so that none is cut in two and missed.
    return {"error": shown(failed.error)[:2000], "retryable": failed.retryable}
