"""Decides whether the student replaces its teacher: yes, no, or not enough evidence; and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..file.spec import LoopSpec
from ..file.when import parse
from ..plan.nodes import Carry


def decide(loop: LoopSpec, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """``promoted``, ``kept`` (the teacher stays), ``abstained``, or ``none`` if there is no condition.

    Abstained: the condition does not hold, and an interval that it uses contains zero, so the
    test could not tell the two models apart. Raises GristmillError if a name is not among the metrics.
    """
    if loop.when is None:
        return "promoted" if loop.promote else "none"
    condition = parse(loop.when)
    if condition.evaluate(metrics):
        return "promoted"
    return "abstained" if any(_straddles(each) for each in _intervals(condition.names, metrics)) else "kept"


def replaced(
    loop: LoopSpec, decision: str, before: Mapping[str, Carry], student: Callable[[str], Carry]
) -> dict[str, Carry]:
    """Model -> the student that replaces it in the next round.

    ``before``: model -> the student that replaces it in this round. ``student``: gives the student that a
    step of this round trained.
    """
    after = dict(before)
    if decision == "promoted":
        after |= {model: student(step) for step, model in loop.promote.items()}
    for step, model in loop.pursue.items():
        teacher = after.get(loop.promote[step])
        if decision in ("promoted", "abstained"):
            after[model] = student(step)
        elif teacher is not None:
            after[model] = teacher
        else:
            after.pop(model, None)
    return after


def _intervals(names: Iterable[str], metrics: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The metric groups with an interval that the names in the condition belong to."""
    for name in names:
        around: Any = {step.replace("-", "_"): figures for step, figures in metrics.items()}
        for word in name.split(".")[:-1]:
            around = around.get(word, {}) if isinstance(around, Mapping) else {}
        if isinstance(around, Mapping) and {"ci_low", "ci_high"} <= around.keys():
            yield around


def _straddles(interval: Mapping[str, Any]) -> bool:
    """Does the interval contain zero, or is a bound unknown (None or NaN)?"""
    low, high = interval["ci_low"], interval["ci_high"]
    return low is None or high is None or not (low > 0 or high < 0)
