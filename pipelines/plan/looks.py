"""The steps of a gate: its yardsticks also ask the model of round 0, and come in parts if it looks often."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from ...contracts import registry
from ...contracts.operators import Operator
from ..file.check_gate import look_name, seed_name
from ..file.spec import BEFORE, PipelineSpec, StepSpec
from .further_students import with_further_students
from .nodes import Plan

#: The ends of the names of a look, and of a further student.
_LOOK = re.compile(r"_\d+of\d+$")
_SEED = re.compile(r"_seed\d+$")


def with_looks(spec: PipelineSpec) -> PipelineSpec:
    """The specification with the steps that a gate adds.

    Every yardstick is also compared with the model of round 0, unless the file says with which. With several
    seeds, there is a student of each, and an evaluation of it alone on each yardstick. With several looks,
    each of these evaluations becomes one step per look, over one part of its items.
    """
    gate = spec.loop.gate
    if gate is None:
        return spec
    names = {name for name, _ in gate.yardsticks()}
    steps: dict[str, StepSpec] = {}
    every = with_further_students(spec)
    for name, step in every.steps.items():
        made = step
        if name in names:
            made = step.model_copy(update={"operator": _with_start(step.operator, spec)})
        in_parts = gate.looks > 1 and written(spec, name) in names
        steps.update({part.name: part for part in _parts(made, gate.looks)} if in_parts else {name: made})
    found = every.model_copy(update={"steps": steps})
    found._renamed.update({("steps", name): ("steps", written(spec, name)) for name in steps})
    return found


def looks_of(spec: PipelineSpec, yardstick: str) -> list[str]:
    """The steps of a yardstick, one for each look; any other step alone."""
    gate = spec.loop.gate
    looks = gate.looks if gate is not None and yardstick in dict(gate.yardsticks()) else 1
    if looks == 1:
        return [yardstick]
    return [look_name(yardstick, look, looks) for look in range(1, looks + 1)]


def students_of(plan: Plan, step: str) -> list[str]:
    """The steps that evaluate the further students on the items of a yardstick's step."""
    gate = plan.spec.loop.gate
    known = {each.name for each in plan.steps}
    name, look = _without_look(step)
    seeds = range(2, gate.seeds + 1) if gate is not None else ()
    named = (seed_name(name, number) + look for number in seeds)
    return [each for each in named if each in known]


def deciding(plan: Plan) -> list[str]:
    """The steps of the plan that belong to yardsticks of its gate, those of all looks."""
    gate = plan.spec.loop.gate
    every = {step for name, _ in gate.yardsticks() for step in looks_of(plan.spec, name)} if gate else set()
    every |= {other for step in every for other in students_of(plan, step)}
    return [step.name for step in plan.steps if step.name in every]


def written(spec: PipelineSpec, name: str) -> str:
    """The step of the file that a step of the plan is made of."""
    if name in spec.steps or spec.loop.gate is None:
        return name
    plain = _without_look(name)[0]
    return plain if plain in spec.steps else _SEED.sub("", plain)


def _without_look(name: str) -> tuple[str, str]:
    """A name without the end that tells its look, and that end."""
    found = _LOOK.search(name)
    return (name[: found.start()], found.group()) if found else (name, "")


def asked(plan: Plan, yardsticks: Collection[str]) -> Plan:
    """The plan with only those steps of yardsticks that ``yardsticks`` names, and with their items."""
    gate = plan.spec.loop.gate
    if gate is None or gate.looks == 1:
        return plan
    every = set(deciding(plan))
    wanted = {each for name in yardsticks for each in (name, *students_of(plan, name))}
    kept = [step for step in plan.steps if step.name not in every - wanted]
    used = {name for step in kept for name in step.inputs}
    items = {name for step in plan.steps if step.name in every for name in step.inputs}
    return replace(plan, steps=tuple(step for step in kept if step.name not in items - used))


def _with_start(operator: Operator, spec: PipelineSpec) -> Operator:
    """The evaluation that also asks the model of round 0, if it compares with one that students replace."""
    against = getattr(operator, "against", None)
    has_start = "start" in type(operator).model_fields
    if not has_start or against not in spec.loop.promote.values() or getattr(operator, "start", None):
        return operator
    return operator.model_copy(update={"start": f"{against}{BEFORE}"})


def _parts(step: StepSpec, looks: int) -> Iterator[StepSpec]:
    """The steps of all looks: for each the part of the items, and the evaluation on it."""
    part = registry.find("select", "part")
    assert part is not None
    (tasks,) = step.inputs
    for look in range(1, looks + 1):
        items = look_name(tasks, look, looks)
        operator = part.model_validate({"part": look, "of": looks})
        yield StepSpec.model_construct(
            name=items, verb="select", value="part", inputs=(tasks,), operator=operator, params={}
        )
        yield step.model_copy(
            update={
                "name": look_name(step.name, look, looks),
                "inputs": (items,),
                "operator": step.operator.model_copy(update={type(step.operator).input_field: items}),
            }
        )
