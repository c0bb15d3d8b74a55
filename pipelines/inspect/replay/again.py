"""Makes one step again, from the stored rows of the steps before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from ....contracts.errors import DataError
from ....contracts.inference import Usage
from ...file.spec import Budget
from ...plan.nodes import Plan, PlannedStep
from ...run.budget import BudgetTracker, Stop
from ...run.chain import StepResult
from ...run.events import Observers
from ...run.executor import LocalExecutor
from ...run.input_rows import InputRows
from ...run.outcomes import kept_rows
from ...run.serving import ModelTable, Serving
from ...run.session import Session
from ...run.single_stage import SingleStage
from ...run.stages import Stage, basis_of, maps
from ...run.whole_table.memory import default_limit
from ...store.parts import NAME
from ...store.step_store import StepStore
from .overlay import Overlay


async def make_again(plan: Plan, step: PlannedStep, run: Overlay, manifest: Mapping[str, Any]) -> StepStore:
    """Make a step of a plan again in ``run``; return its store there.

    ``step``: as it is to be made. ``manifest``: that of the stored step, whose parts divide its rows. Raises
    GristmillError if it cannot be made.
    """
    steps = tuple(step if each.name == step.name else each for each in plan.steps)
    budget = BudgetTracker(Budget.model_validate({}), usage=Usage(), rows=0, seconds=0.0)
    plan = replace(plan, steps=steps)
    session = Session(plan, run, Observers(), budget, Stop(), default_limit())
    executor = LocalExecutor(Serving(ModelTable(plan, run)))
    try:
        if maps(step):
            await _map(session, step, executor, manifest)
        else:
            await SingleStage(session, Stage((step,), basis_of(plan, step)), executor).run()
    finally:
        await executor.close()
    return run.step(step.name, step.fingerprint)


async def _map(
    session: Session, step: PlannedStep, executor: LocalExecutor, manifest: Mapping[str, Any]
) -> None:
    """Make the parts of a map step again, each from the rows that it was made from."""
    basis = str(manifest["basis"])
    beside = session.beside(step)
    stage = Stage((step,), basis)
    executor.open(stage, {step.name: session.context(step, executor.models)})
    store = session.run.begin_step(step.name, step.fingerprint)
    for start, stop, table, rows in _inputs(session, step, manifest):
        origin = session.origin(rows, beside) if start < stop else ""

        async def emit(
            result: StepResult, start: int = start, stop: int = stop, origin: str = origin
        ) -> None:
            store.commit(
                result.table,
                start=start,
                stop=stop,
                basis=basis,
                rows_in=result.rows_in,
                usage=result.usage,
                origin=origin,
            )

        await executor.process(table, 0, 0, emit)


def _inputs(
    session: Session, step: PlannedStep, manifest: Mapping[str, Any]
) -> Iterator[tuple[int, int, pa.Table, str]]:
    """For each stored part: the first and last row that its name gives, its input rows, and their digest."""
    is_head = manifest["basis"] == basis_of(session.plan, step)
    inputs = InputRows([session.store(name) for name in step.inputs])
    before = session.store(step.inputs[0])
    for each in manifest["parts"]:
        named = NAME.match(each["file"])
        assert named is not None
        start, stop = int(named[1]), int(named[2])
        if is_head:
            yield start, stop, inputs.slice(start, stop), inputs.origin(start, stop)
            continue
        part = before.part(start, stop)
        if part is None:
            raise DataError(f"{before.name} has no part {each['file']}, from which it was made")
        yield start, stop, kept_rows(part.read()), part.rows
