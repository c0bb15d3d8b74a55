"""Resolves ``name`` or ``name@round`` to a step of a run."""

from __future__ import annotations

from collections.abc import Sequence

from ...contracts.errors import DataError
from ...contracts.nearest import did_you_mean
from ..file.earlier import step_of
from ..report.gather import RoundData, RunData, Step


def find_step(data: RunData, text: str, verbs: Sequence[str] = ()) -> tuple[RoundData, Step]:
    """The step of that name and of one of the verbs, if any are given: of the round given after ``@``, else
    of the last round that has it. ``kept@all`` is the step that puts rows of earlier rounds together.

    Raises DataError with the valid names.
    """
    name, at, number = text.rpartition("@") if text.rpartition("@")[2].isdigit() else (text, "", "")
    rounds = [each for each in data.rounds if not at or each.number == int(number)]
    for each in reversed(rounds):
        step = each.step(name)
        if step is not None and (not verbs or step.verb in verbs):
            return each, step
    names = sorted(
        {step.name for each in data.rounds for step in each.steps if not verbs or step.verb in verbs}
    )
    kind = f"{' or '.join(verbs)} step".strip()
    if (plain := step_of(name)) != name and plain in names:
        raise DataError(f"{text!r}: expected the number of a round after @, as in {plain}@1")
    if name in names:
        raise DataError(f"round {number} has no step {name!r}; this run has rounds 1 to {len(data.rounds)}")
    there = f"the {kind}s are {', '.join(names)}" if names else f"this run has no {kind}"
    raise DataError(f"no {kind} {name!r}{did_you_mean(name, names)} ({there})")
