"""The order of steps, and the models behind them."""

from __future__ import annotations

from collections.abc import Iterable

from ...contracts.training import Train
from ..file.model_kinds import members
from ..file.spec import PipelineSpec, StepSpec, first_of


def order(spec: PipelineSpec) -> list[str]:
    """The step names in topological order; the order of the file where possible."""
    placed: dict[str, None] = {}
    for start in spec.steps:
        waiting = [start]
        while waiting:
            name = waiting[-1]
            ahead = [other for other in needs(spec.steps[name], spec) if other not in placed]
            if name in placed or not ahead:
                placed[name] = None
                waiting.pop()
            elif ahead[0] in waiting:  # a cycle, which the check of the file reports
                placed[ahead[0]] = None
            else:
                waiting.append(ahead[0])
    return list(placed)


def needs(step: StepSpec, spec: PipelineSpec) -> Iterable[str]:
    """The steps that must be done before a step."""
    asked = [name for _, _, name in step.operator.references()]
    parts = [part for name in asked for part in members(spec.models.get(name))]
    named = [name for name in [*asked, *parts] if name not in spec.models]
    return [name for name in dict.fromkeys([*step.inputs, *named]) if name in spec.steps]


def models_for(steps: Iterable[str], spec: PipelineSpec) -> set[str]:
    """The models of the file that some steps use, with the steps that they need."""
    needed: set[str] = set()
    waiting = list(steps)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += needs(spec.steps[name], spec)
    asked = {name for step in needed for _, _, name in spec.steps[step].operator.references()}
    named = {first_of(name, spec.models) for name in asked}
    return {part for name in named if name in spec.models for part in (name, *members(spec.models[name]))}


def base_of(name: str, spec: PipelineSpec) -> str | None:
    """The model of the file that a train step starts from, directly or through other train steps.

    None if a file with mistakes has none.
    """
    seen: set[str] = set()
    while (name := first_of(name, spec.models)) not in spec.models:
        step = spec.steps.get(name)
        if step is None or name in seen or not isinstance(step.operator, Train):
            return None
        seen.add(name)
        name = step.operator.model
    return name
