"""Before a promotion: were the students trained on the items that decide it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Contamination:
    """``found``: how many deciding items were trained on; None if none were. ``unchecked``: which of them
    cannot be compared with what was trained on, and why.
    """

    found: str | None = None
    unchecked: Sequence[str] = ()


def contamination(plan: Plan, run: RunDirectory) -> Contamination:
    """Look for the items of the deciding evaluations in the students' training rows.

    The evaluations are those that the condition of the loop names, or the yardsticks of its gate. The rows
    are those that this round's students, and the students of earlier rounds that they may go on from, were
    trained on.
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
        return Contamination()
    count = registry.contaminated_items()
    trainings = list(_trained(plan, run, loop.promote))
    asked: dict[tuple[str, ...], set[str]] = {}
    for step in judging:
        assert isinstance(step.operator, Evaluate)
        asked.setdefault(tuple(step.inputs), set()).update(step.operator.asked_columns())
    found, unchecked = [], []
    for inputs, columns in asked.items():
        items = InputRows([run.step(name, plan.step(name).fingerprint) for name in inputs]).all()
        hits = [count(rows, items, read, columns) for rows, read in trainings]
        if hit := max((each or 0 for each in hits), default=0):
            found.append(f"{hit:,} of {counted(items.num_rows, 'item')} of {', '.join(inputs)}")
        elif None in hits:
            unchecked.append(
                f"contamination is not checked: the items of {', '.join(inputs)} and the rows that the "
                "student was trained on have no texts to compare; a column `question` of the items would be "
                "compared"
            )
    told = f"contaminated: {' and '.join(found)} are in the rows that the student was trained on"
    return Contamination(told if found else None, unchecked)


def _trained(
    plan: Plan, run: RunDirectory, students: Mapping[str, str]
) -> Iterator[tuple[pa.Table, Iterable[str]]]:
    """The rows that each student was trained on, in this round and in earlier ones that it may go on from;
    and the columns that the training names.
    """
    named = {step.name: tuple(step.operator.uses_columns()) for step in plan.steps}
    for steps in [as_record(plan)["steps"], *_gone_on_from(plan, run)]:
        for name in dict.fromkeys(each for student in students for each in _made_of(student, steps)):
            inputs = [(each, steps[each]["fingerprint"]) for each in steps[name]["from"]]
            yield _rows(run, (name, steps[name]["fingerprint"]), inputs), named.get(name, ())


def _gone_on_from(plan: Plan, run: RunDirectory) -> list[Mapping[str, Any]]:
    """The steps of the earlier rounds whose students were promoted, or pursued and not given up since."""
    promoted: list[Mapping[str, Any]] = []
    pursued: list[Mapping[str, Any]] = []
    for past in run.rounds():
        if past.number >= plan.round or not past.result:
            continue
        pursued.append(past.plan["steps"])
        if past.result["decision"] == "promoted":
            promoted += pursued
        if past.result["decision"] != "abstained" or not plan.spec.loop.pursue:
            pursued = []
    return promoted + pursued


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
