"""Checks ``loop.gate``: that every yardstick is an evaluation that compares two models."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...contracts.evaluation import Evaluate
from ...contracts.nearest import suggestion
from .document import Document, Path
from .gate import GateSpec
from .steps import Draft


def look_name(step: str, look: int, looks: int) -> str:
    """The name of a yardstick's step, or of its items, at one of several looks: ``verdict_1of4``."""
    return f"{step}_{look}of{looks}"


def seed_name(step: str, number: int) -> str:
    """The name of a further student, from the second, or of its evaluation: ``student_seed2``."""
    return f"{step}_seed{number}"


def check_gate(
    document: Document, gate: GateSpec, promoted: Collection[str], steps: Mapping[str, Draft]
) -> None:
    """Record every yardstick that is no evaluation with ``against``, or that looks would take from a step.

    ``promoted``: the train steps whose students are promoted.
    """
    measured = {name for name, step in steps.items() if step.kind and issubclass(step.kind, Evaluate)}
    for name, role in gate.yardsticks():
        path: Path = ("loop", "gate", role, name)
        given = document.get(path[:-1])
        if not isinstance(given, Mapping):
            path = (*path[:-1], given.index(name)) if isinstance(given, list) else path[:-1]
        step = steps.get(name)
        if step is None:
            document.blame(path, f"unknown step: {suggestion(name, measured)}")
        elif step.kind is not None and name not in measured:
            told = ", ".join(sorted(measured)) or "none"
            document.blame(path, f"{name!r} is no evaluation; `evaluate` steps are: {told}")
        elif step.kind is not None and step.params.get("against") is None:
            document.blame(path, f"{name!r} compares with no model: give it `against`, the teacher's name")
        else:
            if gate.looks > 1:
                _check_looks(document, name, gate.looks, steps)
            model = step.params.get("model")
            if gate.seeds > 1 and isinstance(model, str) and model not in promoted:
                document.blame(
                    path,
                    f"`seeds` judges the students of `promote` ({', '.join(promoted) or 'none'}); {name!r} "
                    f"evaluates {model!r}: name one of them there, or leave `seeds` out",
                )
    named = [*promoted, *(name for name, _ in gate.yardsticks())]
    made = [seed_name(name, number) for name in named for number in range(2, gate.seeds + 1)]
    for name in made:
        if name in steps:
            told = f"`loop.gate.seeds` makes a step {name!r}: rename this one"
            document.blame(("steps", name), told, key=True)


def _check_looks(document: Document, name: str, looks: int, steps: Mapping[str, Draft]) -> None:
    """With several looks a yardstick becomes several steps, whose rows no other step can read."""
    for other in steps.values():
        given = (value if isinstance(value, (list, tuple)) else [value] for value in other.params.values())
        if name in other.inputs or any(name in values for values in given):
            told = f"its rows come in {looks} parts (`loop.gate.looks`), so {other.name!r} cannot read them"
            document.blame(("steps", name), told, key=True)
    for look in range(1, looks + 1):
        for made in (
            look_name(name, look, looks),
            *(look_name(each, look, looks) for each in steps[name].inputs),
        ):
            if made in steps:
                document.blame(
                    ("steps", made), f"`loop.gate.looks` makes a step {made!r}: rename this one", key=True
                )
