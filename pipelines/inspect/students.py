"""The result of a training outside a pipeline: the student's path and metrics, how to serve or merge it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts.operators import Operator
from ...contracts.unmerged import unmerged_settings
from ..file.model_kinds import WeightsModel
from ..file.spec import PipelineSpec
from ..file.training_file import BASE, STUDENT
from ..plan.make import make_plan
from ..store.run_directory import RunDirectory

ADAPTER, OWN = "adapter_config.json", "own_adapter.json"


@dataclass(frozen=True, slots=True)
class Student:
    """A trained student.

    ``kind``: "adapter" (PEFT's layout), "delta" (sparse) or "own" (an adapter that PEFT does not know).
    ``path``: its directory. ``metrics``: those of the train step. ``serve``: a command that serves it over
    its base, None if it must be merged first.
    ``merge``: a command that merges it into its base, None if it cannot be merged.
    """

    kind: str
    path: Path
    metrics: Mapping[str, Any]
    serve: str | None
    merge: str | None


def student(spec: PipelineSpec, run: RunDirectory) -> Student:
    """The student of a training file's finished run; links ``RUN/student`` to it.

    Raises StoreError if it is not trained.
    """
    step = make_plan(spec, file="").step(STUDENT)
    store = run.step(STUDENT, step.fingerprint)
    metrics = store.manifest["summary"]
    path = _link(store.model, run.path / STUDENT)
    base = spec.models[BASE]
    assert isinstance(base, WeightsModel)  # the check of the file ensures it
    adapted, own = ((store.model / name).exists() for name in (ADAPTER, OWN))
    into = _into(step.operator, adapted or own)
    merge = f"gristmill merge {shlex.quote(base.path)} {shlex.quote(str(path))} --out DIR{into}"
    if unmerged_settings(store.model) is not None:
        return Student("own", path, metrics, f"gristmill chat {shlex.quote(str(path))}", None)
    if not adapted:
        return Student("own" if own else "delta", path, metrics, None, merge)
    settings = json.loads((store.model / ADAPTER).read_text())
    serve = (
        f"vllm serve {shlex.quote(settings['base_model_name_or_path'])} --enable-lora "
        f"--max-lora-rank {_served(settings)} "
        f"--lora-modules {STUDENT}={shlex.quote(str(path))}"
    )
    if settings.get("use_dora") or settings.get("modules_to_save"):
        return Student("adapter", path, metrics, None, merge)
    return Student("adapter", path, metrics, serve, merge)


def _into(operator: Operator, adapted: bool) -> str:
    """How to merge into the weights that a training over a quantized base saw.

    An adapter's directory says which they were; a sparse delta's does not.
    """
    held = getattr(operator, "quantize", "none")
    if held == "none":
        return ""
    named = "trained" if adapted else " --skip ".join([held, *getattr(operator, "quantize_skip", ())])
    return f"  (with --into {named}: into the weights that training saw)"


def _served(settings: Mapping[str, Any]) -> int:
    """The smallest rank supported by vLLM that fits this adapter."""
    largest = max([settings["r"], *(settings.get("rank_pattern") or {}).values()])
    return next((rank for rank in (8, 16, 32, 64, 128, 256, 320, 512) if rank >= largest), largest)


def _link(target: Path, name: Path) -> Path:
    """Link ``name`` to ``target`` and return it; ``target`` itself if links cannot be made."""
    temporary = name.with_name(f".{name.name}.link")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(target, name.parent), target_is_directory=True)
        os.replace(temporary, name)
    except OSError:
        return target
    return name
