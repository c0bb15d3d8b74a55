"""Which steps give the same bytes whenever they are made again, and why others do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ....contracts.operators import Sink
from ....contracts.training import Train
from ...plan.nodes import PlannedStep


def not_deterministic(step: PlannedStep) -> str | None:
    """Why a step may come out differently when it is made again; None if it may not."""
    if isinstance(step.operator, Train):
        return "trained a model"
    if step.models:
        return f"asked a model ({', '.join(step.models)})"
    if "sandbox" in type(step.operator).model_fields:
        return "ran programs, whose times are measured"
    if isinstance(step.operator, Sink) and _place(step) is None:
        return "wrote to another place than files of this machine"
    return None


def redirected(step: PlannedStep, folder: Path) -> PlannedStep:
    """The step as it is made again: an export to a place of its own writes into ``folder`` instead."""
    step = replace(step, on_failure="accept")
    place = _place(step) if isinstance(step.operator, Sink) else None
    if not place:
        return step
    operator = step.operator.model_copy(update={"path": str(folder / Path(place).name)})
    return replace(step, operator=operator)


def _place(step: PlannedStep) -> str | None:
    """The local path that an export names, empty for its place in the run; None if it writes elsewhere."""
    if "path" not in type(step.operator).model_fields or step.operator.environment():
        return None
    path = str(getattr(step.operator, "path", None) or "")
    return None if "://" in path else path
