"""The further students of a gate with several seeds: each is trained anew, from the first training on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...contracts.errors import SpecProblem
from ...contracts.operators import Operator
from ...contracts.training import Train
from ..file.check_gate import seed_name
from ..file.model_kinds import CombinedModel, members
from ..file.spec import PipelineSpec, StepSpec
from .order import needs, order


def retrained(spec: PipelineSpec) -> dict[str, None]:
    """The steps that each further student has of its own, in their order.

    Every training that a promoted student rests on, in any way, and every step between that depends on one:
    what differs between seeds is the noise of all of them. Rows that no training of the round had a part in
    are the same for all students.
    """
    rests: set[str] = set()
    waiting = [name for name in spec.loop.promote if name in spec.steps]
    while waiting:
        name = waiting.pop()
        if name not in rests:
            rests.add(name)
            waiting += needs(spec.steps[name], spec)
    found: dict[str, None] = {}
    for name in order(spec):
        step = spec.steps[name]
        own = isinstance(step.operator, Train) or any(each in found for each in needs(step, spec))
        if name in rests and own:
            found[name] = None
    return found


def with_further_students(spec: PipelineSpec) -> PipelineSpec:
    """The specification with the steps of the further students, and their evaluations on each yardstick."""
    gate = spec.loop.gate
    if gate is None or gate.seeds == 1:
        return spec
    again, combined, yardsticks = retrained(spec), _combined(spec), dict(gate.yardsticks())
    steps: dict[str, StepSpec] = {}
    models = dict(spec.models)
    renamed = {
        number: {name: seed_name(name, number) for name in [*again, *combined]}
        for number in range(2, gate.seeds + 1)
    }
    for name, step in spec.steps.items():
        steps[name] = step
        student = getattr(step.operator, "model", None)
        for number, names in renamed.items():
            update: dict[str, object] = {"name": seed_name(name, number)}
            if name in again:
                # A step with a seed of its own has it in every round.
                update["seed"] = None if step.seed is None else step.seed + number - 1
                update["inputs"] = tuple(names.get(each, each) for each in step.inputs)
                update["operator"] = _renamed(step.operator, names)
            elif name in yardsticks and student in spec.loop.promote:
                alone = {"model": names[student], "against": None, "start": None}
                update["operator"] = step.operator.model_copy(update=alone)
            else:
                continue
            steps[seed_name(name, number)] = step.model_copy(update=update)
    for name, model in combined.items():
        for names in renamed.values():
            parts = {
                part: tuple(names.get(each, each) for each in named) for part, named in model.members.items()
            }
            models[names[name]] = model.model_copy(update={**parts, "base": parts["base"][0]})
    return spec.model_copy(update={"steps": steps, "models": models})


def mistakes(spec: PipelineSpec) -> Iterator[SpecProblem]:
    """Steps and models of the file that have the name of one that further students need."""
    gate = spec.loop.gate
    if gate is None or gate.seeds == 1:
        return
    needed = [*retrained(spec), *_combined(spec)]
    made = {seed_name(name, number) for name in needed for number in range(2, gate.seeds + 1)}
    for kind, named in (("step", spec.steps), ("model", spec.models)):
        for name in sorted(made & named.keys()):
            told = f"`loop.gate.seeds` makes a {kind} {name!r}: rename this one"
            yield spec.problem((f"{kind}s", name), told)


def _combined(spec: PipelineSpec) -> dict[str, CombinedModel]:
    """The combined models with a student that is trained again."""
    again = retrained(spec).keys()
    return {
        name: model
        for name, model in spec.models.items()
        if isinstance(model, CombinedModel) and again & set(members(model))
    }


def _renamed(operator: Operator, names: Mapping[str, str]) -> Operator:
    """The operator with other names of steps and models in its parameters."""
    update: dict[str, object] = {}
    for field, _, target in operator.references():
        if target in names:
            given = getattr(operator, field)
            several = isinstance(given, (list, tuple))
            update[field] = type(given)(names.get(each, each) for each in given) if several else names[target]
    return operator.model_copy(update=update) if update else operator
