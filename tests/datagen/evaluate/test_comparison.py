"""Evaluations that ask a model: an item that cannot be asked about or judged fails alone."""

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


NUMBER = {"verify": "number", "answer": "gold"}
OPTIONAL = {"kind": "json", "fields": {"response": "text"}, "optional": ["response"]}


@pytest.mark.parametrize(
    ("check", "bad", "told"),
    [
        (NUMBER, {"gold": "none"}, "column 'gold' holds text without a number"),
        (NUMBER, {}, "column 'gold' is missing"),
        ({"verify": "choice", "answer": "gold", "options": 2}, {"gold": 3}, "a letter from A to B"),
        ({"verify": "tests", "code": "response"}, {"gold": 1}, "column 'tests' is missing"),
        ({"verify": "constraints"}, {"constraints": "no list"}, "is not JSON text"),
    ],
)
@pytest.mark.parametrize("parser", [{"kind": "text"}, OPTIONAL])
def test_an_item_that_cannot_be_judged_fails(
    context: Any, check: dict[str, Any], bad: dict[str, Any], told: str, parser: dict[str, Any]
) -> None:
    """It would count as wrong for both models, and so dilute what they differ by."""
    answer = '{"response": "1"}' if parser is OPTIONAL else "1"
    context.engines = {"student": ShortContext(1000, answer), "base": ShortContext(1000, "no object")}
    operator = EvaluateAnswers(tasks="evals", model="student", against="base", check=check, parser=parser)
    good = {"gold": 1, "tests": "assert True", "constraints": CONSTRAINTS}
    rows = [{"_id": f"t{n}", "prompt": "Which?", **each} for n, each in enumerate([good, bad, good])]
    outcomes = [outcome for (outcome,) in asyncio.run(operator.open(context)(rows))]
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [False, True, False]
    assert isinstance(outcomes[1], Failed)
    assert told in outcomes[1].error
    assert not outcomes[1].retryable


@pytest.mark.parametrize(
    "answer", ["no object", '{"response": null}', '{"response": 1}', '{"response": "2"}']
)
def test_a_wrong_answer_and_one_that_cannot_be_read_are_not_passed(context: Any, answer: str) -> None:
    """They are the model's doing: an item without them would flatter it."""
    context.engines = {"base": ShortContext(1000, answer)}
    operator = EvaluateAnswers(tasks="evals", model="base", check=NUMBER, parser=OPTIONAL)
    rows = [{"_id": "t0", "prompt": "Which?", "gold": 1}]
    ((item,),) = asyncio.run(operator.open(context)(rows))
    assert isinstance(item, Kept)
    assert item.row["score"] == 0.0
