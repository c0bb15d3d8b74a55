"""Models that an evaluation need not ask: a finished evaluation has measured them on the same items.

In a loop, the teacher of a round was the student of an earlier one, and the model of round 0 was the teacher
of the first. Within a round, several students are compared with one base. If a change of the file makes a
round anew, such as other settings of a training, its base is what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa

from ...contracts.evaluation import Evaluate
from ...contracts.rows import Row
from ..plan.fingerprint import canonical
from ..plan.nodes import Plan, PlannedStep
from ..plan.record import as_record
from ..store.parts import ID
from ..store.run_directory import RoundRecord, RunDirectory
from ..store.step_store import StepStore
from .gate.measured import GAIN


@dataclass(frozen=True, slots=True)
class MeasuredBefore:
    """Where a model was measured: a step of a round, its rows, and the model's columns, after a prefix."""

    step: str
    round: int
    store: StepStore
    prefix: str
    columns: Sequence[str]

    def rows(self) -> dict[str, Row]:
        """The model's columns of each item, without the prefix, by the item's ``_id``."""
        table = self.store.table([ID, *(self.prefix + name for name in self.columns)])
        return {row.pop(ID): row for row in table.rename_columns([ID, *self.columns]).to_pylist()}

    def has(self, items: pa.Table) -> bool:
        """Were these the items? A step that was made again may have other rows than when it was measured."""
        return bool(self.store.table(items.column_names).equals(items))


def measured_before(
    step: PlannedStep, plan: Plan, run: RunDirectory, items: Callable[[], pa.Table]
) -> dict[str, MeasuredBefore]:
    """The models of ``step`` that finished evaluations of the run measured, by their names in the plan.

    Such an evaluation has the same items and the same request but for its models and, unless answers are
    sampled, its seed; the model has the same weights, engine and options; and no item failed, or it would
    hold other items.
    ``items``: reads the input rows of ``step``.
    Raises Damaged if a record of the run is not as it was written.
    """
    operator = step.operator
    if not isinstance(operator, Evaluate) or not operator.measures:
        return {}
    records = [each for each in run.rounds() if each.number < plan.round]
    this = RoundRecord(plan.round, as_record(plan), None)
    own = this.plan["steps"][step.name]
    asked = {own["models"][side][0]: own["request"]["models"][side][0] for side in operator.asks()}
    free = {"models"} if operator.samples_answers() else {"models", "seed"}
    promoted = replacements(records)
    found: dict[str, MeasuredBefore] = {}
    asked_about = cache(lambda: _without_measures(items(), operator))
    former = [RoundRecord(plan.round, each, None) for each in run.former_plans(plan.round)]
    for each in (this, *former, *reversed(records)):
        for name, other in each.plan["steps"].items():
            store = run.step(name, other["fingerprint"])
            if other is own or not _alike(own, other, free) or not store.complete:
                continue
            for side, prefix in operator.sides.items():
                for model, wanted in asked.items():
                    if model in found or not _same(model, wanted, side, other, each, promoted, this):
                        continue
                    one = MeasuredBefore(name, each.number, store, prefix, operator.measures)
                    if one.has(asked_about()):
                        found[model] = one
    return {name: found[name] for name in asked if name in found}


def _without_measures(items: pa.Table, operator: Evaluate) -> pa.Table:
    """The items, without the columns that the evaluation writes and those of the runner but their ``_id``."""
    written = {GAIN, *(side + name for side in operator.sides.values() for name in operator.measures)}
    names = [name for name in items.column_names if name == ID or (name[0] != "_" and name not in written)]
    return items.select(names)


def _alike(own: Mapping[str, Any], other: Mapping[str, Any], free: Collection[str]) -> bool:
    """Are the requests of two steps the same but for ``free``?"""
    one, two = own["request"], other["request"]
    return one["operator"] == two["operator"] and _without(one, free) == _without(two, free)


def _without(request: Mapping[str, Any], names: Collection[str]) -> str:
    return canonical({name: value for name, value in request.items() if name not in names})


def _same(
    name: str,
    wanted: Mapping[str, Any],
    side: str,
    other: Mapping[str, Any],
    record: RoundRecord,
    promoted: Mapping[str, tuple[int, str]],
    this: RoundRecord,
) -> bool:
    """Did the evaluation ``other`` ask the model ``name`` as its ``side``? Perhaps as a student."""
    if side not in other["request"]["models"]:
        return False
    (asked,), (called,) = other["request"]["models"][side], other["models"][side]
    if canonical(asked) == canonical(wanted):
        return _server(called, record.plan) == _server(name, this.plan)
    # A promoted student has the engine and the file of the model that it replaces: planning sees to it.
    return "trained" not in wanted and promoted.get(name) == (record.number, called)


def _server(model: str, record: Mapping[str, Any]) -> list[object]:
    """The addresses of a model that a server has: two servers may call different models the same."""
    options = record["models"].get(model, {}).get("options", {})
    return [options.get("url"), options.get("also")]


def replacements(records: Sequence[RoundRecord]) -> dict[str, tuple[int, str]]:
    """For each model that a student replaces after ``records``: the student's round, and its step."""
    found: dict[str, tuple[int, str]] = {}
    trained: dict[str, int] = {}
    for each in records:
        if each.result:
            carry = each.result["carry"]
            for made in carry.values():
                trained.setdefault(made["digest"], each.number)
            found = {name: (trained[made["digest"]], made["step"]) for name, made in carry.items()}
    return found
