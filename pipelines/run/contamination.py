"""Before a promotion: were the students trained on the items that decide it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...contracts import registry
from ...contracts.counting import counted
from ...contracts.evaluation import Evaluate
from ..file.when import parse
from ..plan.looks import deciding
from ..plan.nodes import Plan
from ..plan.record import as_record
from ..store.parts import ID
from ..store.run_directory import RunDirectory
from .input_rows import InputRows


def contamination(plan: Plan, run: RunDirectory) -> str | None:
    """Say how many items of the deciding evaluations are in the students' training rows; None if none are.

    The evaluations are those that the condition of the loop names, or the yardsticks of its gate. The rows
    are those that this round's students, and the students that earlier rounds promoted, were trained on.
    """
    loop = plan.spec.loop
    named = {name.split(".")[0] for name in parse(loop.when).names} if loop.when is not None else set()
    of_gate = deciding(plan)
    judging = [
        step
        for step in plan.steps
        if isinstance(step.operator, Evaluate)
        and (step.name.replace("-", "_") in named or step.name in of_gate)
    ]
    if not judging:
        return None
    count = registry.contaminated_items()
    tables = list(_trained(plan, run, loop.promote))
    found = []
    for step in {step.inputs: step for step in judging}.values():
        items = InputRows([run.step(name, plan.step(name).fingerprint) for name in step.inputs]).all()
        hit = max((count(table, items) or 0 for table in tables), default=0) if items.num_rows else 0
        if hit:
            found.append(f"{hit:,} of {counted(items.num_rows, 'item')} of {', '.join(step.inputs)}")
    if not found:
        return None
    return f"contaminated: {' and '.join(found)} are in the rows that the student was trained on"


def _trained(plan: Plan, run: RunDirectory, students: Mapping[str, str]) -> Iterator[pa.Table]:
    """The rows that each student was trained on, in this round and in earlier ones that promoted it."""
    promoted = [
        past.plan["steps"]
        for past in run.rounds()
        if past.number < plan.round and past.result and past.result["decision"] == "promoted"
    ]
    for steps in [as_record(plan)["steps"], *promoted]:
        for name in dict.fromkeys(each for student in students for each in _made_of(student, steps)):
            inputs = [(each, steps[each]["fingerprint"]) for each in steps[name]["from"]]
            yield _rows(run, (name, steps[name]["fingerprint"]), inputs)


def _made_of(name: str, steps: Mapping[str, Any]) -> Iterator[str]:
    """The student called ``name``, and the students that it was trained from or merged of."""
    if name in steps:
        yield name
        for models in steps[name]["models"].values():
            for model in models:
                yield from _made_of(model, steps)


def _rows(run: RunDirectory, student: tuple[str, str], inputs: list[tuple[str, str]]) -> pa.Table:
    """The input rows of a training that were in a batch."""
    rows = InputRows([run.step(*each) for each in inputs]).all()
    used = run.step(*student).table([ID], "kept")[ID].combine_chunks()
    return rows.filter(pc.is_in(rows[ID], value_set=used)) if rows.num_rows else rows
