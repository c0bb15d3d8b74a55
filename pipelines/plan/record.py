"""A plan as JSON: what a run directory keeps of each round, and what `--against` compares."""

from __future__ import annotations

from typing import Any

from ..secrets import scrubbed
from .make import operator_name
from .nodes import Plan, PlannedModel, PlannedStep


def as_record(plan: Plan) -> dict[str, Any]:
    """The plan as ``rounds/N/plan.json`` holds it: without secrets (and the versions, which the run adds)."""
    record: dict[str, Any] = scrubbed(
        {
            "round": plan.round,
            "steps": {step.name: _step(step, plan) for step in plan.steps},
            "models": {name: _model(model) for name, model in plan.models.items()},
        }
    )
    return record


def _step(step: PlannedStep, plan: Plan) -> dict[str, Any]:
    trained = {name: plan.step(name).fingerprint for name, kind in step.models.items() if kind == "train"}
    return {
        "fingerprint": step.fingerprint,
        "operator": operator_name(plan.spec.steps[step.name]),
        "version": type(step.operator).version,
        "params": step.operator.model_dump(mode="json"),
        "from": list(step.inputs),
        "reads": list(step.reads),
        "models": {name: trained.get(name) or plan.models[name].digest for name in step.models},
        "seed": step.seed,
        "draws": step.request["seed"] is not None,
        "depends": list(step.depends),
        "content": dict(step.content),
    }


def _model(model: PlannedModel) -> dict[str, Any]:
    return {
        "engine": model.engine,
        "path": model.reference,
        "digest": model.digest,
        "adapter": str(model.adapter) if model.adapter else None,
        "options": dict(model.options),
    }
