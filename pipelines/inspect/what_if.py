"""Computes what another condition would keep, without scoring again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError
from ...contracts.exchanges import MESSAGES, VIEWED, view
from ..report.gather import Step, gather
from ..store.run_directory import RunDirectory
from .find_step import find_step
from .value_groups import ValueGroup, grouping, value_groups

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class WhatIf:
    """``now``: rows kept by the run. ``then``: rows kept by the other condition. ``both``: rows kept by both.

    ``summary``: that of the other condition (thresholds, rows by the part of it that they fail).
    """

    step: str
    round: int
    expression: str
    current: str
    rows: int
    now: int
    then: int
    both: int
    summary: Mapping[str, Any]
    by: str | None
    groups: tuple[ValueGroup, ...]


def what_if(run: RunDirectory, name: str, expression: str, by: str | None = None) -> WhatIf:
    """Apply ``expression`` to the input rows of the keep step ``name``.

    ``by``: a column to group by; a later step may add it. The default is ``cluster``, if a step
    has it. Raises DataError if the step, the column or the expression is invalid.
    """
    from ...filters.expressions.keep import decide
    from ...filters.expressions.sql_parse import names_in

    data = gather(run)
    each, step = find_step(data, name, ("keep",))
    inputs = [found for before in step.inputs if (found := each.step(before)) is not None]
    if not all(found.complete for found in inputs):
        raise DataError(f"the input rows of {name} are not complete yet: resume the run, then try again")
    current = str(step.plan["request"]["params"].get("keep", ""))
    seen = [each for each in VIEWED if each in names_in([expression, current])]
    table = _scored(inputs, f"{expression} {by or ''}{MESSAGES if seen else ''}")
    table = view(table, seen)
    level = float(step.plan["request"]["params"].get("level", 0.95))
    decision = decide(table, expression, level)
    then = decision.mask
    now = _kept_now(step, table) if step.complete else decide(table, current, level).mask
    column = grouping(data, by)
    return WhatIf(
        step=step.name,
        round=each.number,
        expression=expression,
        current=current,
        rows=table.num_rows,
        now=int(now.sum()),
        then=int(then.sum()),
        both=int((now & then).sum()),
        summary=decision.summary,
        by=column,
        groups=value_groups(data, table["_id"].to_pylist(), column, now, then) if column is not None else (),
    )


def _scored(inputs: list[Step], mentioned: str) -> pa.Table:
    """The kept rows of the inputs; list columns only if they are mentioned, since they are large."""
    import pyarrow as pa
    import pyarrow.types as types

    tables = [
        step.table(
            [name for name, kind in step.columns.items() if not types.is_nested(kind) or name in mentioned]
        ).drop_columns(["_fate"])
        for step in inputs
    ]
    return pa.concat_tables(tables, promote_options="permissive")


def _kept_now(step: Step, table: pa.Table) -> NDArray[np.bool_]:
    import pyarrow.compute as compute

    kept = step.table(["_id"])["_id"].combine_chunks()
    mask: NDArray[np.bool_] = compute.is_in(table["_id"], value_set=kept).to_numpy()
    return mask
