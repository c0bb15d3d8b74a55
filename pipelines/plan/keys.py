"""Checks that the environment has the keys of a plan's models before any request is made."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ...contracts.errors import SpecError
from ..store.run_directory import RunDirectory
from .nodes import Plan, PlannedStep


def refuse_missing_keys(plan: Plan, run: RunDirectory | None) -> None:
    """Raise SpecError, at the model's place in the file, if its ``key_env`` names a variable that is not set.

    Models whose steps are all done in ``run`` need no key.
    """
    asked = {name for step in plan.steps if not _is_done(step, run) for name in step.models}
    problems = [
        plan.spec.problem(
            ("models", name),
            f"the environment variable {variable!r} (key_env) is not set: set it to the key, "
            "or remove `key_env` if the server needs no key",
        )
        for name, model in plan.models.items()
        if name in asked
        for variable in _variables(model.options)
        if not os.environ.get(variable)
    ]
    if problems:
        raise SpecError(problems)


def _variables(options: Mapping[str, object]) -> list[str]:
    """The variables of a model's keys: its own, and those of its further addresses."""
    also = options.get("also")
    places = [options, *(also if isinstance(also, list | tuple) else ())]
    return [variable for place in places if isinstance(variable := place.get("key_env"), str)]


def _is_done(step: PlannedStep, run: RunDirectory | None) -> bool:
    return run is not None and run.step(step.name, step.fingerprint).complete
