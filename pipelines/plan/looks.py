"""The steps of a gate: its yardsticks also ask the model of round 0, and come in parts if it looks often."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from ...contracts import registry
from ...contracts.operators import Operator
from ..file.check_gate import look_name
from ..file.spec import BEFORE, PipelineSpec, StepSpec
from .nodes import Plan


def with_looks(spec: PipelineSpec) -> PipelineSpec:
    """The specification with the steps that a gate adds.

    Every yardstick is also compared with the model of round 0, unless the file says with which. With several
    looks, each yardstick becomes one step per look, over one part of its items.
    """
    gate = spec.loop.gate
    if gate is None:
        return spec
    names = {name for name, _ in gate.yardsticks()}
    steps: dict[str, StepSpec] = {}
    for name, step in spec.steps.items():
        if name not in names:
            steps[name] = step
            continue
        own = step.model_copy(update={"operator": _with_start(step.operator, spec)})
        steps.update({each.name: each for each in _parts(own, gate.looks)} if gate.looks > 1 else {name: own})
    made = spec.model_copy(update={"steps": steps})
    made._renamed.update({("steps", name): ("steps", written(spec, name)) for name in steps})
    return made


def looks_of(spec: PipelineSpec, yardstick: str) -> list[str]:
    """The steps of a yardstick, one for each look; any other step alone."""
    gate = spec.loop.gate
    looks = gate.looks if gate is not None and yardstick in dict(gate.yardsticks()) else 1
    return (
        [yardstick]
        if gate is None or looks == 1
        else [look_name(yardstick, look, looks) for look in range(1, looks + 1)]
    )


def deciding(plan: Plan) -> list[str]:
    """The steps of the plan that belong to yardsticks of its gate, those of all looks."""
    gate = plan.spec.loop.gate
    every = {step for name, _ in gate.yardsticks() for step in looks_of(plan.spec, name)} if gate else set()
    return [step.name for step in plan.steps if step.name in every]


def written(spec: PipelineSpec, name: str) -> str:
    """The step of the file that a step of the plan is made of."""
    if name in spec.steps or spec.loop.gate is None:
        return name
    return name.rpartition("_")[0]


def asked(plan: Plan, yardsticks: Collection[str]) -> Plan:
    """The plan with only those steps of yardsticks that ``yardsticks`` names, and with their items."""
    gate = plan.spec.loop.gate
    if gate is None or gate.looks == 1:
        return plan
    every = set(deciding(plan))
    kept = [step for step in plan.steps if step.name not in every - set(yardsticks)]
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
