"""What a plan needs of the machine and of the environment: keys, variables and packages.

It is checked before any request is made, for the steps that are not done yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from ...contracts.errors import SpecError, SpecProblem
from ..file.model_kinds import EmbedderModel, ModelSpec
from ..file.spec import PipelineSpec
from ..store.run_directory import RunDirectory
from .nodes import Plan, PlannedStep

#: Engine -> its module, and how to get it.
ENGINES = {
    "vllm": (
        "vllm",
        "pip install 'gristmill[cpu]' (no GPU) or 'gristmill[vllm]' (CUDA), or use the engine 'transformers'",
    ),
    "transformers": ("transformers", "pip install transformers"),
    "combined": ("transformers", "pip install transformers"),
    "openai": ("httpx", "pip install httpx"),
    "embedder": ("sentence_transformers", "pip install sentence-transformers"),
}


def refuse_missing(plan: Plan, run: RunDirectory | None) -> None:
    """Raise SpecError, with the places in the file, if the environment lacks what the plan needs.

    Steps that are done in ``run`` need nothing.
    """
    waiting = [step.name for step in plan.steps if not _is_done(step, run)]
    if problems := missing(plan.spec, waiting):
        raise SpecError(problems)


def missing(spec: PipelineSpec, steps: Iterable[str] | None = None) -> list[SpecProblem]:
    """The mistakes of models, steps and trackers that lack a key, a variable or a package.

    ``steps``: those that will run; by default all.
    """
    waiting = [spec.steps[name] for name in (spec.steps if steps is None else steps)]
    asked = dict.fromkeys(name for step in waiting for _, _, name in step.operator.references())
    found = [problem for name in asked if name in spec.models for problem in _of_model(spec, name)]
    for step in waiting:
        for variable, fix in step.operator.environment().items():
            if not os.environ.get(variable):
                said = f"the environment variable {variable!r} is not set: {fix}"
                found.append(spec.problem(("steps", step.name), said))
    for number, service in enumerate(spec.metrics):
        if not installed(service):
            said = f"{service} is not installed: pip install 'gristmill[{service}]'"
            found.append(spec.problem(("metrics", number), said))
    return found


def _of_model(spec: PipelineSpec, name: str) -> Iterator[SpecProblem]:
    model = spec.models[name]
    for place, variable in _variables(model.options):
        if not os.environ.get(variable):
            said = f"the environment variable {variable!r} (key_env) is not set: set it to the key, or remove"
            yield spec.problem(("models", name, *place), f"{said} `key_env` if the server needs no key")
    module, fix = _served_by(model)
    if module and not installed(module):
        said = f"the engine {model.engine!r} needs the package {module}, which is not installed: {fix}"
        yield spec.problem(("models", name), said)


def _variables(options: Mapping[str, object]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """(place, variable) of a model's keys: its own, and those of its further addresses."""
    also = options.get("also")
    further = enumerate(also if isinstance(also, list | tuple) else ())
    places: list[tuple[tuple[str | int, ...], Any]] = [((), options)]
    for place, given in [*places, *((("also", number), each) for number, each in further)]:
        if isinstance(variable := given.get("key_env"), str):
            yield (*place, "key_env"), variable


def _served_by(model: ModelSpec) -> tuple[str, str]:
    """The module that serves a model, and how to get it; empty if it needs none."""
    if isinstance(model, EmbedderModel) and model.path is None:
        return ENGINES["openai"]
    return ENGINES.get(model.engine, ("", ""))


def installed(module: str) -> bool:
    """Whether a top-level module can be imported. It is not imported."""
    return find_spec(module) is not None


def _is_done(step: PlannedStep, run: RunDirectory | None) -> bool:
    return run is not None and run.step(step.name, step.fingerprint).complete
