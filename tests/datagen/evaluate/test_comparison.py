"""Evaluations that ask a model: a refused request fails only its own item."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Completion, Request
from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.evaluate.answers import EvaluateAnswers
from gristmill.datagen.evaluate.comparison import Comparison
from gristmill.datagen.evaluate.constraints import EvaluateConstraints

CONSTRAINTS = json.dumps([{"kind": "lower_case"}])
KINDS = {
    "answers": lambda **more: EvaluateAnswers(
        check={"verify": "constraints"}, parser={"kind": "text", "column": "response"}, **more
    ),
    "constraints": EvaluateConstraints,
}


class ShortContext:
    """An engine that refuses a whole call if one prompt is too long, as vLLM and servers do."""

    capabilities = frozenset({"seed"})
    vocab_size = None

    def __init__(self, limit: int, answer: str = "small") -> None:
        self.limit, self.answer = limit, answer

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        for request in requests:
            asked = (request.messages or ())[-1]["content"]
            if len(asked) > self.limit:
                raise EngineError(f"a prompt of {len(asked)} is too long", retryable=False)
        return [Completion(r.id, self.answer, (1,), "stop", 1) for r in requests]

    async def close(self) -> None: ...


def tasks(count: int, too_long: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "_id": f"t{n}",
            "prompt": ("long " * 100).strip() if n in too_long else f"Task {n}.",
            "constraints": CONSTRAINTS,
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("against", [None, "base"])
def test_prompts_that_do_not_fit_fail_alone(
    context: Any, kind: str, samples: int, against: str | None
) -> None:
    too_long = (0, 17, 39)
    context.engines = {"student": ShortContext(100), "base": ShortContext(100)}
    operator: Comparison = KINDS[kind](
        tasks="evals", model="student", against=against, samples=samples, temperature=float(samples > 1)
    )
    outcomes = [outcome for (outcome,) in asyncio.run(operator.open(context)(tasks(40, too_long)))]
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Failed)] == list(too_long)
    assert all(
        outcome.error == "a prompt of 499 is too long" and not outcome.retryable
        for outcome in outcomes
        if isinstance(outcome, Failed)
    )
    kept = [outcome.row for outcome in outcomes if isinstance(outcome, Kept)]
    metrics = operator.summary(pa.Table.from_pylist(kept))
    assert metrics["n"] == 37
    assert set(metrics["model"].values()) == {1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_that_only_the_other_model_cannot_be_asked_about_fails(context: Any, kind: str) -> None:
    """A gain requires both scores."""
    context.engines = {"student": ShortContext(1000), "base": ShortContext(100)}
    operator: Comparison = KINDS[kind](tasks="evals", model="student", against="base")
    outcomes = [outcome for (outcome,) in asyncio.run(operator.open(context)(tasks(4, [2])))]
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [False, False, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_both_evaluations_ask_alike_and_judge_alike(context: Any, kind: str) -> None:
    context.engines = {"student": ShortContext(100, "small"), "base": ShortContext(100, "Big")}
    operator: Comparison = KINDS[kind](tasks="evals", model="student", against="base")
    rows = [outcome.row for (outcome,) in asyncio.run(operator.open(context)(tasks(30, ())))]
    first = next(iter(operator.figures.values()))
    assert {(row[first], row[f"against_{first}"], row["gain"]) for row in rows} == {(1.0, 0.0, 1.0)}
    metrics = operator.summary(pa.Table.from_pylist(rows))
    assert metrics["decision"] == "better"
    assert metrics["gain"]["metric"] == next(iter(operator.figures))
    assert operator.estimate(30).requests == 60
    assert set(operator.needs()) == {"model", "against"}
