"""A look at the first rows of the files that a plan trains on: what a training would find when it begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...contracts.errors import GristmillError
from ...contracts.training import Train
from ..sources.file_source import FileSource
from .nodes import Plan, PlannedStep

if TYPE_CHECKING:
    from ...contracts.rows import Row

#: Rows of a file that are looked at.
FIRST = 200


def looks(plan: Plan) -> Iterator[str]:
    """What is to be said of the first rows of each file that a step trains on, one sentence each."""
    for step in plan.steps:
        if not isinstance(step.operator, Train):
            continue
        for name in step.inputs:
            rows, whole = _first_rows(plan.step(name))
            told = step.operator.look_at(rows, whole=whole) if rows else None
            if told is not None:
                yield f"{step.name}: of {name}, {told}"


def _first_rows(step: PlannedStep) -> tuple[list[Row], bool]:
    """Return the first rows of a source of local files, and whether these are all; none of another step."""
    source = step.operator
    if not isinstance(source, FileSource) or any("://" in path for path in source.paths()):
        return [], False  # a plan downloads nothing
    wanted = FIRST + 1 if source.rows is None else min(FIRST + 1, source.rows)
    context: Any = _Nobody()
    try:
        batches = source.model_copy(update={"rows": wanted}).read(context)
        rows = [row for batch in batches for row in batch.to_pylist()]
    except GristmillError:
        return [], False  # the run reports it, with its row
    named = [{"_id": f"row {n}", "_parents": [], **row} for n, row in enumerate(rows[:FIRST], 1)]
    return named, len(rows) <= FIRST


class _Nobody:
    """The part of a context that a source reads with."""

    def check(self) -> None:
        return
