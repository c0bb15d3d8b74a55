"""Checks ``loop``: the students that replace models, the condition, what is watched, and the gate."""

from __future__ import annotations

from ...contracts.errors import GristmillError
from ...contracts.evaluation import Evaluate
from ...contracts.nearest import brief, suggestion
from ...contracts.training import Train
from . import when
from .check_gate import check_gate
from .document import Document, Path
from .graph import Drafts, Models, check_student, check_use, offered_by, references, serving
from .model_kinds import CombinedModel, ModelSpec, WeightsModel, members
from .spec import LoopSpec


def check_loop(document: Document, loop: LoopSpec, steps: Drafts, models: Models) -> None:
    """Check that ``promote`` and ``pursue`` name train steps and models with weights, and that ``when`` is
    valid.
    """
    trained = {step.name for step in steps.values() if step.kind is not None and issubclass(step.kind, Train)}
    replaced = [(key, *pair) for key in ("promote", "pursue") for pair in getattr(loop, key).items()]
    for key, student, base in replaced:
        path: Path = ("loop", key, student)
        if student not in trained and not (student in steps and steps[student].kind is None):
            document.blame(path, f"not a train step: {suggestion(student, trained)}", key=True)
        if base not in models:
            document.blame(path, f"unknown model: {suggestion(base, models)}")
            continue
        model = models[base]
        if model is not None and not isinstance(model, WeightsModel):
            document.blame(
                path, f"{base!r} is served by {model.engine!r}, which cannot take a student's adapter"
            )
        below, _ = serving(student, steps, models)
        if model is not None and _is_asked(base, steps):
            check_student(document, path, student, model.engine, offered_by(model), steps)
        if loop.rounds > 1:
            _used(document, path, student, base, steps)
        for other in models.values():
            if isinstance(other, CombinedModel) and base in members(other):
                check_student(document, path, student, other.engine, offered_by(other), steps)
        if below is not None and model is not None and _served(below) != _served(model):
            document.blame(
                path, f"{student!r} is trained from a model other than {base!r}, and cannot replace it"
            )
    if loop.promote and loop.when is None and loop.gate is None:
        document.blame(
            ("loop", "when"),
            "required with `promote`: the condition, as in 'verdict.gain.ci_low > 0' (or a `gate`)",
            at=("loop", "promote"),
            key=True,
        )
    if loop.when is not None:
        _condition(document, loop.when, steps)
    for name in loop.watch:
        if (step := name.partition(".")[0]) not in steps:
            document.blame(("loop", "watch", name), f"unknown step: {suggestion(step, steps)}", key=True)
        elif loop.gate is not None and loop.gate.looks > 1 and step in dict(loop.gate.yardsticks()):
            document.blame(
                ("loop", "watch", name),
                f"{step!r} comes in {loop.gate.looks} parts (`loop.gate.looks`), each with its own figures: "
                "watch another evaluation, which is no yardstick",
                key=True,
            )
    if loop.gate is not None:
        check_gate(document, loop.gate, loop.promote, steps)


def _used(document: Document, path: Path, student: str, base: str, steps: Drafts) -> None:
    """Check that the trainings that use ``base`` can use ``student`` in its place, in the next round."""
    for step in steps.values():
        if isinstance(step.operator, Train):
            for parameter, kind, name, _ in references(step):
                if kind == "model" and name == base:
                    check_use(document, path, student, step.operator, parameter, steps)


def _is_asked(model: str, steps: Drafts) -> bool:
    """Whether a step asks the engine of a model, and does not only train it."""
    return any(
        name == model and kind == "model" and not isinstance(step.operator, Train)
        for step in steps.values()
        for _, kind, name, _ in references(step)
    )


def _served(model: ModelSpec) -> dict[str, object]:
    """A model's keys without its sampling parameters."""
    return model.model_dump(exclude={"sampling"})


def _condition(document: Document, text: str, steps: Drafts) -> None:
    path: Path = ("loop", "when")
    try:
        names = when.parse(text).names
    except GristmillError as error:
        document.blame(path, str(error))
        return
    written = {name.replace("-", "_"): step for name, step in steps.items()}
    for name in names:
        first, _, rest = name.partition(".")
        if first not in written:
            document.blame(path, f"unknown step: {suggestion(first, written)}")
        elif not rest:
            document.blame(path, f"{brief(first)} is a step: name one of its metrics, as {first}.gain.ci_low")
        elif (kind := written[first].kind) is not None and not issubclass(kind, (Evaluate, Train)):
            measured = {key for key, step in written.items() if step.kind and issubclass(step.kind, Evaluate)}
            document.blame(
                path, f"{first!r} has no metrics; evaluate steps do: {', '.join(sorted(measured)) or 'none'}"
            )
