"""Evaluations that compare several models with one: a table of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...contracts.evaluation import Evaluate
from ...contracts.training import Train
from ..plan.nodes import Plan, PlannedStep
from ..store.step_store import StepStore


def comparisons(plan: Plan, stores: Mapping[str, StepStore]) -> list[dict[str, Any]]:
    """Return a table for each model that at least two evaluations compare with, on the same items.

    JSON-able: ``evaluation`` (the operator), ``tasks``, ``metric``, ``against`` (the choice that the others
    are compared with) and ``choices``. A choice is what a student was trained on, named by the step that
    chose the rows; a model that no step trained is named as in the file. Each has ``choice``, ``model``,
    ``step`` (the evaluation), ``rows`` (those trained on; None if no step trained it), ``n`` (items),
    ``score`` (the mean of the metric) and ``gain`` (mean, ci_low, ci_high). The first is ``against``: it has
    no step and no gain (None).
    """
    groups: dict[tuple[object, ...], list[PlannedStep]] = {}
    for step in plan.steps:
        against = getattr(step.operator, "against", None)
        if isinstance(step.operator, Evaluate) and against is not None:
            groups.setdefault((step.label, step.inputs, against), []).append(step)
    return [
        _table(plan, stores, steps)
        for steps in groups.values()
        if len(steps) > 1 and all("gain" in stores[step.name].manifest["summary"] for step in steps)
    ]


def _table(plan: Plan, stores: Mapping[str, StepStore], steps: list[PlannedStep]) -> dict[str, Any]:
    first = stores[steps[0].name].manifest["summary"]
    metric = first["gain"]["metric"]
    operators: list[Any] = [step.operator for step in steps]
    choice = _choice(plan, stores, operators[0].against)
    lines = [{**choice, "step": None, "n": first["n"], "score": first["against"][metric], "gain": None}]
    for step, operator in zip(steps, operators, strict=True):
        found = stores[step.name].manifest["summary"]
        gain = {name: found["gain"][name] for name in ("mean", "ci_low", "ci_high")}
        choice = _choice(plan, stores, operator.model)
        figures = {"n": found["n"], "score": found["model"][metric], "gain": gain}
        lines.append({**choice, "step": step.name, **figures})
    return {
        "evaluation": steps[0].label,
        "tasks": ", ".join(steps[0].inputs),
        "metric": metric,
        "against": lines[0]["choice"],
        "choices": lines,
    }


def _choice(plan: Plan, stores: Mapping[str, StepStore], model: str) -> dict[str, Any]:
    """What a model was trained on."""
    training = next((step for step in plan.steps if step.name == model), None)
    if training is None or not isinstance(training.operator, Train):
        return {"choice": model, "model": model, "rows": None}
    rows = stores[model].manifest["ledger"]["kept"]
    return {"choice": ", ".join(training.inputs), "model": model, "rows": rows}
