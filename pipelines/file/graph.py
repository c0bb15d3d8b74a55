"""Checks the references between steps and models: inputs, engines and cycles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from ...contracts.inference import Capability
from ...contracts.nearest import suggestion
from ...contracts.operators import Operator, Sink
from ...contracts.training import Merge, Train
from .document import Document, Path
from .earlier import mistake_of, step_of
from .model_kinds import CombinedModel, EmbedderModel, ModelSpec, WeightsModel, members
from .spec import BEFORE, first_of
from .steps import Draft

#: How to serve a student that not every engine can load.
SERVED: Mapping[Capability, str] = {
    "dora": "give its base `engine: transformers`, or train another kind of adapter",
    "trained_parts": "give its base `engine: transformers`, or train the adapter alone",
    "delta": "merge the student in a step (`merge: task-arithmetic`) and name that, or train an adapter",
    "added_modules": "give its base `engine: transformers`, since it cannot be merged into it",
    "reward": "give its base `engine: transformers` and `task: reward`",
}

Drafts = Mapping[str, Draft]
Models = Mapping[str, ModelSpec | None]


def check_graph(document: Document, steps: Drafts, models: Models) -> None:
    """Record every reference to a missing name or to the wrong kind of thing, and every cycle.

    ``models``: None for a model that could not be read, about which nothing more is reported.
    """
    for step in steps.values():
        if step.kind is not None and issubclass(step.kind, Train) and step.name in models:
            document.blame(step.path, f"a model is called {step.name!r} too: rename one of them", key=True)
        key = step.kind.input_field if step.kind else "from"
        for name in step.inputs:
            _rows(document, step, _input_path(document, step, key, name), name, steps)
        for parameter, kind, name, path in references(step):
            if kind == "step" and parameter != key:
                _rows(document, step, path, name, steps)
            elif kind != "step":
                _model(document, path, name, kind, steps, models)
        _needs(document, step, steps, models)
    for name, model in models.items():
        if isinstance(model, CombinedModel):
            _members(document, name, model, steps, models)
    _cycles(document, steps, models)


def _input_path(document: Document, step: Draft, key: str, name: str) -> Path:
    given = document.get((*step.path, key))
    return (*step.path, key, given.index(name)) if isinstance(given, list) else (*step.path, key)


def references(step: Draft) -> Iterator[tuple[str, str, str, Path]]:
    """(parameter, kind, name, place) of each model or step that the parameters name.

    Taken from the parameters as given, so that a mistake in one does not hide another.
    """
    if step.kind is None:
        return
    for parameter, kind in _reference_fields(step.kind):
        info = step.kind.model_fields[parameter]
        given = step.params.get(parameter, None if info.is_required() else info.get_default())
        place = step.place(parameter)
        for index, name in enumerate(given if isinstance(given, (list, tuple)) else [given]):
            if isinstance(name, str):
                yield parameter, kind, name, (*place, index) if isinstance(given, list) else place


@cache
def _reference_fields(kind: type[Operator]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(kind.reference_fields()))


def _rows(document: Document, step: Draft, path: Path, name: str, steps: Drafts) -> None:
    """Check that ``name`` is a step with rows, of this round or of earlier ones."""
    if (said := mistake_of(name)) is not None:
        document.blame(path, said)
        return
    name = step_of(name)
    if name not in steps:
        document.blame(path, f"unknown step: {suggestion(name, set(steps) - {step.name})}")
        return
    kind = steps[name].kind
    if kind is not None and issubclass(kind, Sink):
        document.blame(path, f"{name!r} writes files and has no rows: name the step before it")
    elif kind is not None and issubclass(kind, Train):
        document.blame(path, f"{name!r} makes a model, not rows")


def _model(document: Document, path: Path, name: str, kind: str, steps: Drafts, models: Models) -> None:
    """Check that ``name`` is a model (or a train step) of the required kind."""
    trained = {step.name for step in steps.values() if step.kind is None or issubclass(step.kind, Train)}
    written, name = name, first_of(name, models)
    if written != name and isinstance(models[name], CombinedModel):
        document.blame(
            path,
            f"{name!r} is combined of other models, and {written!r} is not what it was in round 0: declare "
            f"another combined model whose members end in {BEFORE!r}, and name that",
        )
    if name in models:
        model = models[name]
        if kind == "embedder" and model is not None and not isinstance(model, EmbedderModel):
            document.blame(path, f"{name!r} is served by {model.engine!r}; this needs `engine: embedder`")
        elif kind == "model" and isinstance(model, EmbedderModel):
            document.blame(path, f"{name!r} is an embedder; this needs a model that generates")
    elif kind == "embedder":
        document.blame(path, f"unknown embedder: {_declared(name, models)}")
    elif name in steps and name not in trained:
        document.blame(path, f"{name!r} is a step that makes rows; this needs a model or a train step")
    elif name not in trained:
        document.blame(path, f"unknown model: {_declared(name, {*models, *trained})}")


def _declared(name: str, known: Iterable[str]) -> str:
    said = suggestion(name, known)
    return said if said.endswith("?") else f"{said}; models are declared under `models:`"


def _members(document: Document, name: str, model: CombinedModel, steps: Drafts, models: Models) -> None:
    """Check that a combined model consists of models with weights, and of students that it can load."""
    offered = offered_by(model)
    for part, names in model.members.items():
        given = document.get(("models", name, part))
        for number, member in enumerate(dict.fromkeys(names)):
            path: Path = ("models", name, part, *([number] if isinstance(given, list) else []))
            _model(document, path, member, "model", steps, models)
            below, trained = serving(member, steps, models)
            if below is not None and not isinstance(below, (WeightsModel, EmbedderModel)):
                document.blame(
                    path,
                    f"{member!r} is served by {below.engine!r}: logits are combined of models with weights",
                )
            elif trained:
                check_student(document, path, member, model.engine, offered, steps)


def _needs(document: Document, step: Draft, steps: Drafts, models: Models) -> None:
    """Check that the engines of a step's models support what the step requires."""
    if step.operator is None:
        return
    wanted = dict(step.operator.needs())
    for parameter, kind, name, path in references(step):
        if kind != "model":
            continue
        model, trained = serving(name, steps, models)
        if model is None:
            continue
        if isinstance(step.operator, Train):
            if not isinstance(model, WeightsModel):
                document.blame(
                    path, f"{name!r} is served by {model.engine!r}: training needs weights (`path:`)"
                )
            check_use(document, path, name, step.operator, parameter, steps)
            continue
        offered = offered_by(model)
        missing = sorted(wanted.get(parameter, frozenset()) - offered)
        if missing:
            document.blame(
                path, f"{name!r} is served by {model.engine!r}, which does not support {', '.join(missing)}"
            )
        elif trained:
            check_student(document, path, name, model.engine, offered, steps)


def check_use(document: Document, path: Path, name: str, by: Train, parameter: str, steps: Drafts) -> None:
    """Check that ``by`` can use the student of the train step ``name`` as its ``parameter``."""
    operator = steps[name].operator if name in steps else None
    if not isinstance(operator, Train):
        return
    if isinstance(by, Merge) and parameter == "students":
        if (why := operator.why_not_merged()) is not None:
            said = f"{name!r} cannot be merged, since {why}: train another kind, or name the student itself"
            document.blame(path, said)
    elif parameter == "model":
        if not isinstance(by, Merge) and (why := by.why_not_continued(operator)) is not None:
            document.blame(path, f"training cannot go on from {name!r}: {why}")
    elif (why := operator.why_not_read()) is not None:
        merge = "" if operator.why_not_merged() else ", or merge it in a step and name that"
        document.blame(path, f"{name!r} cannot be the {parameter}, since {why}: train another kind{merge}")


def check_student(
    document: Document, path: Path, name: str, engine: str, offered: frozenset[Capability], steps: Drafts
) -> None:
    """Check that an engine can load the student of the train step ``name``."""
    operator = steps[name].operator if name in steps else None
    if not isinstance(operator, Train):
        return
    for needed, setting in operator.student_needs().items():
        if needed not in offered:
            document.blame(
                path,
                f"{name!r} is trained with {setting}, which the engine {engine!r} cannot load: "
                f"{SERVED.get(needed, 'name a model with another engine')}",
            )
            return


def serving(name: str, steps: Drafts, models: Models) -> tuple[ModelSpec | None, bool]:
    """The model behind ``name`` (following train steps to their base), and whether it was trained."""
    seen: set[str] = set()
    while (name := first_of(name, models)) not in models:
        step = steps.get(name)
        below = step.params.get("model") if step else None
        if name in seen or not isinstance(below, str):
            return None, bool(seen)
        seen.add(name)
        name = below
    return models[name], bool(seen)


def offered_by(model: ModelSpec) -> frozenset[Capability]:
    """What a model's engine supports; nothing if there is no such engine."""
    from .. import engines

    if model.engine not in engines.KINDS:
        return frozenset()
    return engines.capabilities_of(model.engine, model.options)


def depends(step: Draft, steps: Drafts, models: Models) -> list[str]:
    """The steps that must be done before ``step``, in the order in which it names them."""
    named = [
        each
        for _, kind, name, _ in references(step)
        if kind != "embedder"
        for each in (name, *members(models.get(name)))
        if each == name or each not in models
    ]
    return [name for name in dict.fromkeys([*step.inputs, *named]) if name in steps]


def _cycles(document: Document, steps: Drafts, models: Models) -> None:
    done: set[str] = set()
    for start in steps:
        # Depth first, without recursion: a file may chain thousands of steps.
        trail: list[str] = [start]
        ahead = [iter(depends(steps[start], steps, models))] if start not in done else []
        while ahead:
            name = next(ahead[-1], None)
            if name is None:
                ahead.pop()
                done.add(trail.pop())
            elif name in trail:
                cycle = [*trail[trail.index(name) :], name]
                document.blame(("steps", name), f"cycle of steps: {' <- '.join(cycle)}", key=True)
            elif name not in done:
                trail.append(name)
                ahead.append(iter(depends(steps[name], steps, models)))
