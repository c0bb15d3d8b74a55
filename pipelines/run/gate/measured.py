"""What a round's evaluations have measured so far, for the gate and for the gain of the whole loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ....contracts.errors import GristmillError
from ....contracts.evaluation import Evaluate
from ...file.gate import GateSpec
from ...plan.looks import looks_of, students_of
from ...plan.nodes import Plan, PlannedStep
from ...store.parts import ID
from ...store.run_directory import RunDirectory
from ..input_rows import InputRows
from .yardstick import Measured, Yardstick

#: The column of an evaluation with the difference of the two models, item by item.
GAIN = "gain"


def yardsticks(gate: GateSpec, plan: Plan, run: RunDirectory) -> list[Yardstick]:
    """Every yardstick of a gate, with its looks whose steps ``plan`` has; they must be done.

    Raises GristmillError if an evaluation has no differences.
    """
    shares = tuple(look / gate.looks for look in range(1, gate.looks + 1))
    found = []
    for name, role in gate.yardsticks():
        looks = [_measured(plan, run, steps) for steps in _so_far(_steps(plan, looks_of(plan.spec, name)))]
        weight, margin = gate.promote.get(name, 1.0), gate.retain.get(name, 0.0)
        found.append(Yardstick(name, role, tuple(looks), shares, weight=weight, margin=margin))
    return found


def since_start(plan: Plan, run: RunDirectory, *, promoted: bool) -> list[dict[str, Any]]:
    """What the loop has gained since round 0, on each evaluation that names a ``start``.

    JSON-able: ``evaluation`` (the step), ``metric``, ``start`` and ``now`` (the scores), ``mean``,
    ``ci_low``, ``ci_high`` and ``n``. ``promoted``: whether the last student is that of this
    round, or its teacher.
    """
    groups: dict[str, list[PlannedStep]] = {}
    gate = plan.spec.loop.gate
    names = [name for name, _ in gate.yardsticks()] if gate is not None else []
    whole = {step: name for name in names for step in looks_of(plan.spec, name)}
    for step in plan.steps:
        if isinstance(step.operator, Evaluate) and getattr(step.operator, "start", None) is not None:
            groups.setdefault(whole.get(step.name, step.name), []).append(step)
    name = "gain_start" if promoted else "gain_against_start"
    found = []
    for evaluation, steps in groups.items():
        metrics = pooled(steps, run)
        if name in metrics:
            gain = metrics[name]
            found.append(
                {
                    "evaluation": evaluation,
                    "metric": gain["metric"],
                    "start": metrics[gain["over"]][gain["metric"]],
                    "now": metrics[gain["of"]][gain["metric"]],
                    **{key: gain[key] for key in ("mean", "ci_low", "ci_high", "n")},
                }
            )
    return found


def pooled(steps: Sequence[PlannedStep], run: RunDirectory) -> Mapping[str, Any]:
    """The metrics of an evaluation over the items of all its looks so far."""
    operator = steps[0].operator
    assert isinstance(operator, Evaluate)
    if len(steps) == 1:
        summary: Mapping[str, Any] = run.step(steps[0].name, steps[0].fingerprint).manifest["summary"]
        return summary
    return operator.summary(_rows(steps, run))


def _rows(steps: Sequence[PlannedStep], run: RunDirectory) -> pa.Table:
    return InputRows([run.step(step.name, step.fingerprint) for step in steps]).all()


def _steps(plan: Plan, names: Sequence[str]) -> list[PlannedStep]:
    known = {step.name: step for step in plan.steps}
    return [known[name] for name in names if name in known]


def _so_far(steps: Sequence[PlannedStep]) -> Iterator[Sequence[PlannedStep]]:
    return (steps[:end] for end in range(1, len(steps) + 1))


def _measured(plan: Plan, run: RunDirectory, steps: Sequence[PlannedStep]) -> Measured:
    rows = _rows(steps, run)
    further = [students_of(plan, step.name) for step in steps]
    if further[0]:
        return _of_students(rows, [_steps(plan, names) for names in zip(*further)], steps, run)
    failed = sum(run.step(step.name, step.fingerprint).ledger().failed for step in steps)
    if GAIN not in rows.column_names:
        if rows.num_rows:
            raise GristmillError(
                f"it is a yardstick of `loop.gate`, and its rows have no column {GAIN!r}", step=steps[0].name
            )
        return Measured(_EMPTY, failed)
    return Measured(rows[GAIN].to_numpy(), failed)


def _of_students(
    rows: pa.Table, further: Sequence[Sequence[PlannedStep]], steps: Sequence[PlannedStep], run: RunDirectory
) -> Measured:
    """The differences of several students. An item that failed for one of them failed.

    ``rows``: the items of the first student. ``further``: for each other one, its steps.
    """
    score = next(iter(type(steps[0].operator).figures.values()))  # type: ignore[attr-defined]  # with a gain
    asked = sum(len(InputRows([run.step(step.name, step.fingerprint)])) for step in steps)
    asked += sum(run.step(step.name, step.fingerprint).ledger().failed for step in steps)
    others = []
    for each in further:
        table = _rows(each, run)
        others.append(dict(zip(table[ID].to_pylist(), table[score].to_pylist() if table.num_rows else ())))
    known = [row for row in rows.to_pylist() if all(row[ID] in scores for scores in others)]
    first = np.array([row[GAIN] for row in known], float)
    teacher = np.array([row[score] for row in known], float) - first
    students = [first, *(np.array([scores[row[ID]] for row in known], float) - teacher for scores in others)]
    matrix = np.stack(students)
    return Measured(matrix.mean(axis=0), asked - len(known), matrix)


_EMPTY = pa.array([], pa.float64()).to_numpy(zero_copy_only=False)
