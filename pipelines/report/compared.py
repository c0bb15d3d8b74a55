"""The section of the report that compares a run with another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..plan.difference import Difference
from ..view.summary import duration
from . import charts
from .browser.compared_rows import compared_rows
from .browser.shape import figure
from .gather import RoundData, RunData, Step
from .names import in_words
from .run_difference import StepDifference, run_difference

SAME, ALIKE = "the same step", "the same rows were kept"


@dataclass(frozen=True, slots=True)
class ComparedStep:
    """A step of one or both runs. ``here`` and ``there``: its bar and its kept rows, None if it is not there.

    ``browsed``: whether the row browser has rows of it that differ.
    """

    name: str
    label: str
    here: tuple[str, int] | None
    there: tuple[str, int] | None
    told: str
    browsed: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """``figures``: (name, here, there, change) of the runs, then of their metrics. ``same``: the steps that
    do not differ. ``settings``: what changed in the steps, from the other run to this one.
    """

    path: str
    figures: list[tuple[str, str, str, str]]
    steps: list[ComparedStep]
    same: list[str]
    settings: list[Difference]
    file: str
    rows: dict[str, Any] | None


def compared(run: RunData, other: RunData) -> Compared | None:
    """The last rounds of two runs side by side; None if one has no round. Raises StoreError."""
    one, two = run.last, other.last
    if one is None or two is None:
        return None
    found = run_difference(other.directory, run.directory)
    rows = compared_rows(one, two)
    browsed = {step["name"] for step in rows["steps"]} if rows else set()
    steps = list(_steps(one, two, {each.step: each for each in found.steps}, browsed))
    metrics = sorted(found.metrics.items(), key=lambda each: _verb(one, each[0]) != "evaluate")
    return Compared(
        str(other.directory.path),
        [
            *_totals(run, other),
            *(_metric(name, here, there) for name, (there, here) in metrics if _is_number(here, there)),
        ],
        [step for step in steps if step.told != SAME],
        [step.name for step in steps if step.told == SAME],
        found.settings,
        "\n".join(found.file),
        rows,
    )


def _totals(run: RunData, other: RunData) -> Iterator[tuple[str, str, str, str]]:
    finals = [each.last.data if each.last else None for each in (run, other)]
    if finals[0] is not None and finals[1] is not None:
        name = finals[0].name if finals[0].name == finals[1].name else "the data set"
        yield _metric(f"rows in {name}", *(each.ledger.kept for each in finals if each))
    spent = [each.directory.spent()[0].completion_tokens for each in (run, other)]
    if any(spent):
        yield _metric("tokens generated", *spent)
    times = [each.directory.seconds() for each in (run, other)]
    yield "time", duration(times[0]), duration(times[1]), ""


def _verb(data: RoundData, metric: str) -> str:
    """The verb of the step that a metric is of."""
    step = data.step(metric.partition(".")[0])
    return step.verb if step else ""


def _is_number(*values: Any) -> bool:
    return all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values)


def _steps(
    one: RoundData, two: RoundData, differences: dict[str, StepDifference], browsed: set[str]
) -> list[ComparedStep]:
    largest = max((step.ledger.made for data in (one, two) for step in data.steps), default=0)
    names = dict.fromkeys(step.name for data in (one, two) for step in data.steps)
    found = []
    for name in names:
        here, there = one.step(name), two.step(name)
        step = here or there
        assert step is not None
        sides = [None if each is None else _side(each, largest) for each in (here, there)]
        told = _told(here, there, differences.get(name))
        told += ", with other answers" if told == ALIKE and name in browsed else ""
        found.append(ComparedStep(name, step.label, sides[0], sides[1], told, name in browsed))
    return found


def _side(step: Step, largest: int) -> tuple[str, int]:
    ledger = step.ledger
    counts = {"kept": ledger.kept, "filtered": ledger.filtered, "failed": ledger.failed}
    return charts.funnel_bar(counts, largest), ledger.kept


def _told(here: Step | None, there: Step | None, difference: StepDifference | None) -> str:
    if here is None or there is None:
        return "only in the other run" if here is None else "only in this run"
    if here.store.fingerprint == there.store.fingerprint:
        return SAME
    if difference is None or difference.same:
        return ALIKE
    return (
        f"{difference.both:,} rows in both, {difference.only_second:,} only in this run, "
        f"{difference.only_first:,} only in the other"
    )


def _metric(name: str, here: float, there: float) -> tuple[str, str, str, str]:
    change = here - there
    signed = f"{change:+,}" if isinstance(change, int) else f"{change:+.4g}"
    return in_words(name), figure(here), figure(there), signed
