"""Finds steps that write what another step wrote: the same file or folder, or the same column unread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from os.path import realpath
from pathlib import Path

from ...contracts.errors import GristmillError, SpecProblem
from ...contracts.evaluation import Evaluate
from ...contracts.operators import Sink, Source
from ...contracts.training import Train
from ..file.earlier import step_of
from ..file.load import texts
from ..file.spec import PipelineSpec, StepSpec
from .schemas import Schema, own_columns


def collisions(spec: PipelineSpec, schemas: Mapping[str, Schema]) -> list[SpecProblem]:
    """The mistakes of steps that undo what another one did."""
    return [*_files(spec), *_columns(spec, schemas)]


# --- files ---------------------------------------------------------------------------------------


def _files(spec: PipelineSpec) -> Iterator[SpecProblem]:
    """Exports to one place, into one another, or over a file that the pipeline reads."""
    written: dict[str, Path] = {}
    read = {Path(realpath(path)): step.name for step in spec.steps.values() for path in _read(step)}
    for step in spec.steps.values():
        target = step.operator.target() if isinstance(step.operator, Sink) else None
        if target is None:
            continue
        place = Path(realpath(target))
        path = ("steps", step.name, "path")
        for other, there in written.items():
            if place == there or place in there.parents or there in place.parents:
                where = "writes there too" if place == there else f"writes to {there}"
                said = f"the step {other!r} {where}, and each would replace the other: name another place"
                yield spec.problem(path, f"found {str(target)!r}; {said}")
        if place in read:
            said = f"the step {read[place]!r} reads this file, which would be replaced: name another place"
            yield spec.problem(path, f"found {str(target)!r}; {said}")
        written[step.name] = place


def _read(step: StepSpec) -> list[Path]:
    """The local files that a source reads."""
    if not isinstance(step.operator, Source):
        return []
    try:
        return list(step.operator.reads())
    except GristmillError:
        return []  # told with its step


# --- columns -------------------------------------------------------------------------------------


def _columns(spec: PipelineSpec, schemas: Mapping[str, Schema]) -> Iterator[SpecProblem]:
    """Verdicts and scores that a step replaces before anything read what a step before it wrote there."""
    judges = {step.name: step for step in spec.steps.values() if step.verb in _JUDGING}
    unread = _unread(spec, schemas) if len(judges) > 1 else set()
    for step in judges.values():
        for name in sorted(own_columns(step.operator) & _verdicts(step)):
            for maker in {schemas.get(step_of(source), Schema()).makers.get(name) for source in step.inputs}:
                if maker in judges and (maker, name) in unread:
                    said = f"it writes the column {name!r}, which the step {maker!r} wrote and nothing read"
                    fix = f"read it before (`keep: {name}`), or save it (`compute: {{other: {name}}}`)"
                    yield spec.problem(("steps", step.name), f"{said}: {fix}")


#: Verbs whose columns are what the step is for.
_JUDGING = ("verify", "score")


def _verdicts(step: StepSpec) -> frozenset[str]:
    """The columns for which a judging step is there: its verdict, and those that its parameters name."""
    if step.verb == "verify":
        return frozenset({"passed"})
    return own_columns(step.operator) & frozenset(_words(step))


def _unread(spec: PipelineSpec, schemas: Mapping[str, Schema]) -> set[tuple[str, str]]:
    """(step, column) of each column that a step wrote and no other step names."""
    written = {(maker, name) for schema in schemas.values() for name, maker in schema.makers.items()}
    for step in spec.steps.values():
        read = [name for _, kind, name in step.operator.references() if kind == "step"]
        for source in dict.fromkeys([*step.inputs, *read]):
            makers = schemas.get(step_of(source), Schema()).makers
            if _reads_all(step):
                written -= {(maker, name) for name, maker in makers.items()}
                continue
            words, own = _words(step), own_columns(step.operator)
            used = set(step.operator.uses_columns())
            for name, maker in makers.items():
                if name in used or words.count(name) > (name in own):
                    written.discard((maker, name))
    return written


def _reads_all(step: StepSpec) -> bool:
    """Whether a step may read every column of its rows: its own code, or what it writes or trains on."""
    operator = step.operator
    return isinstance(operator, (Sink, Train, Evaluate)) or operator.makes_columns([]) is None


def _words(step: StepSpec) -> list[str]:
    """The words of all texts and keys among a step's parameters."""
    given: dict[str, object] = {**step.params}
    found = [text for _, text in texts(given)]
    keys = [str(key) for value in given.values() if isinstance(value, dict) for key in value]
    return [word for text in [*found, *keys] for word in re.findall(r"\w+", text)]
