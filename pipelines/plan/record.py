"""A plan as JSON: what a run directory keeps of each round, and what `--against` compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..secrets import scrubbed
from ..weights import DEFAULT_EMBEDDER
from .nodes import Plan, PlannedModel, PlannedStep


def as_record(plan: Plan) -> dict[str, Any]:
    """The plan as ``rounds/N/plan.json`` holds it: without secrets (and the versions, which the run adds).

    Of each step ``request``, the canonical request that its ``fingerprint`` is the hash of, and what it cannot tell
    for it holds no names: ``from``, the steps whose rows come in, and by parameter ``models`` and ``reads``, the
    models and the other steps that it names, in the request's order.
    """
    record: dict[str, Any] = scrubbed(
        {
            "round": plan.round,
            "steps": {step.name: _step(step) for step in plan.steps},
            "models": {name: _model(model) for name, model in plan.models.items()},
        }
    )
    return record


def model_digests(step: Mapping[str, Any]) -> dict[str, str]:
    """Model -> what names its content, of a recorded step: for a student the fingerprint of its training."""
    asked = step["request"]["models"]
    return {
        name: each.get("trained") or each["digest"]
        for field, names in step["models"].items()
        for name, each in zip(names, asked[field], strict=True)
    }


def _step(step: PlannedStep) -> dict[str, Any]:
    models: dict[str, list[str]] = {}
    reads: dict[str, list[str]] = {}
    for field, kind, name in step.operator.references():
        if kind != "step":
            models.setdefault(field, []).append(name)
        elif field != type(step.operator).input_field:
            reads.setdefault(field, []).append(name)
    if len(models) < len(step.request["models"]):
        models[""] = [DEFAULT_EMBEDDER]
    return {
        "fingerprint": step.fingerprint,
        "request": dict(step.request),
        "from": list(step.inputs),
        "models": models,
        "reads": reads,
    }


def _model(model: PlannedModel) -> dict[str, Any]:
    return {
        "engine": model.engine,
        "path": model.reference,
        "digest": model.digest,
        "adapter": str(model.adapter) if model.adapter else None,
        "options": dict(model.options),
    }
