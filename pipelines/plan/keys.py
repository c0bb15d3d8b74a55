"""Keys that a plan's models need and the environment lacks, told before anything is paid for."""

from __future__ import annotations

import os

from ..errors import SpecError
from ..store.run_directory import RunDirectory
from .nodes import Plan, PlannedStep


def refuse_missing_keys(plan: Plan, run: RunDirectory | None) -> None:
    """Raise SpecError where ``key_env`` of a model names an environment variable that is not set, at the model's place
    in the file. Models whose steps are all done in ``run`` need none."""
    asked = {name for step in plan.steps if not _is_done(step, run) for name in step.models}
    problems = [
        plan.spec.problem(
            ("models", name),
            f"the environment variable {variable!r} (key_env) is not set: set it to the key, "
            "or leave `key_env` out if the server asks for none",
        )
        for name, model in plan.models.items()
        if name in asked
        and isinstance(variable := model.options.get("key_env"), str)
        and not os.environ.get(variable)
    ]
    if problems:
        raise SpecError(problems)


def _is_done(step: PlannedStep, run: RunDirectory | None) -> bool:
    return run is not None and run.step(step.name, step.fingerprint).complete
