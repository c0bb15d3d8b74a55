"""Evaluations that also compare with the model of round 0."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.inference import Completion, Request
from gristmill.datagen.evaluate.constraints import EvaluateConstraints


class Says:
    """An engine with one answer, and the requests that it got."""

    capabilities = frozenset({"seed"})
    vocab_size = None

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[Request] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.asked += requests
        return [Completion(r.id, self.answer, (1,), "stop", 1) for r in requests]

    async def close(self) -> None: ...


TASKS = [
    {"_id": f"t{n}", "prompt": f"Task {n}.", "constraints": json.dumps([{"kind": "lower_case"}])}
    for n in range(8)
]


def measured(context: Any, **models: str) -> tuple[Any, list[dict[str, Any]]]:
    operator = EvaluateConstraints(tasks="evals", **models)
    rows = [outcome.row for (outcome,) in asyncio.run(operator.open(context)(TASKS))]
    return operator.summary(pa.Table.from_pylist(rows)), rows


def test_the_student_and_its_teacher_are_compared_with_the_first_model(context: Any) -> None:
    context.engines = {"student": Says("small"), "teacher": Says("small"), "first": Says("Big")}
    metrics, rows = measured(context, model="student", against="teacher", start="first")
    assert (metrics["gain"]["mean"], metrics["gain_start"]["mean"]) == (0.0, 1.0)
    assert metrics["gain_against_start"]["mean"] == 1.0
    assert (metrics["start"]["strict"], metrics["against"]["strict"]) == (0.0, 1.0)
    assert (metrics["gain_start"]["of"], metrics["gain_start"]["over"]) == ("model", "start")
    assert {row["start_response"] for row in rows} == {"Big"}
    names = EvaluateConstraints(tasks="evals", model="a", against="b", start="c").metrics()
    assert {"gain_start.ci_low", "start.strict", "gain_against_start.mean"} <= set(names)


def test_a_model_that_is_named_twice_is_asked_once(context: Any) -> None:
    context.engines = {"student": Says("small"), "base": Says("Big")}
    metrics, rows = measured(context, model="student", against="base", start="base")
    assert len(context.engines["base"].asked) == len(TASKS)
    assert all(row["start_response"] == row["against_response"] == "Big" for row in rows)
    assert metrics["gain_start"]["mean"] == metrics["gain"]["mean"] == 1.0
    operator = EvaluateConstraints(tasks="evals", model="student", against="base", start="base")
    assert operator.estimate(10).requests == 20
    assert set(operator.needs()) == {"model", "against", "start"}


def test_a_first_model_alone_is_refused() -> None:
    with pytest.raises(ValidationError, match="`start` is compared with beside `against`"):
        EvaluateConstraints(tasks="evals", model="student", start="base")
