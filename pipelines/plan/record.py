"""A plan as JSON: a run directory stores it for each round, and `--against` compares it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...contracts.secrets import scrubbed
from ..weights import DEFAULT_EMBEDDER
from .nodes import Plan, PlannedModel, PlannedStep


def as_record(plan: Plan) -> dict[str, Any]:
    """The plan as stored in ``rounds/N/plan.json``, without secrets. (The run adds the versions.)

    Each step has its ``fingerprint`` and the ``request`` that was hashed. A request holds no names, so these
    are added: ``from``, the input steps; ``models`` and ``reads``, by parameter, the models and the other
    steps that the step names, in the order of the request.
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
    """The content digest of each model of a recorded step; for a student, the fingerprint of its training."""
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
        "from": [*(each.name for each in step.earlier), *step.inputs],
        "models": models,
        "reads": reads,
    }


def _model(model: PlannedModel) -> dict[str, Any]:
    return {
        "engine": model.engine,
        "path": model.told if model.members else model.reference,
        "digest": model.digest,
        "adapter": str(model.adapter) if model.adapter else None,
        "options": dict(model.options),
    }
