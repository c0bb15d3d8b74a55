"""The held-out likelihood of two models, item by item."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import EngineSettings, ModelWeights
from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.evaluate.likelihood import EvaluateLikelihood
from gristmill.filters.score.likelihood import Likelihood
from gristmill.pipelines.engines import start

ROWS = [{"_id": f"r{n}", "prompt": f"What is {n} + {n}?", "response": f"It is {2 * n}."} for n in range(6)]


@pytest.fixture
def two(context: Any, make_model: Callable[..., Path]) -> Iterator[Any]:
    """A context with two random models, served by transformers."""
    for name, width in (("student", 96), ("base", 128)):
        weights = ModelWeights(name, make_model(name=name, intermediate_size=width), name)
        context.engines[name] = start(EngineSettings("transformers", weights, {"dtype": "float32"}))
    yield context
    for engine in context.engines.values():
        asyncio.run(engine.close())


def test_items_have_the_scores_of_both_models_and_the_gain_is_their_difference(two: Any) -> None:
    step = EvaluateLikelihood(tasks="held_out", model="student", against="base")
    rows = [outcome.row for (outcome,) in asyncio.run(step.open(two)(ROWS)) if isinstance(outcome, Kept)]
    for name, prefix in (("student", ""), ("base", "against_")):
        alone = asyncio.run(Likelihood(model=name).open(two)(ROWS))
        expected = [outcome.row["mean_logprob"] for (outcome,) in alone]
        assert [row[f"{prefix}mean_logprob"] for row in rows] == pytest.approx(expected)
    gains = [row["mean_logprob"] - row["against_mean_logprob"] for row in rows]
    assert [row["gain"] for row in rows] == pytest.approx(gains)
    metrics = step.summary(pa.Table.from_pylist(rows))
    assert metrics["n"] == 6
    assert metrics["gain"]["mean"] == pytest.approx(sum(gains) / 6)
    assert metrics["gain"]["ci_low"] <= metrics["gain"]["mean"] <= metrics["gain"]["ci_high"]


def test_a_model_that_was_measured_is_not_asked(two: Any) -> None:
    two.known["base"] = {row["_id"]: {"mean_logprob": -1.0 - n, "tokens": n} for n, row in enumerate(ROWS)}
    del two.engines["base"]
    step = EvaluateLikelihood(tasks="held_out", model="student", against="base")
    rows = [outcome.row for (outcome,) in asyncio.run(step.open(two)(ROWS))]
    assert [row["against_mean_logprob"] for row in rows] == [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]
    assert [row["against_tokens"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row["gain"] for row in rows] == [row["mean_logprob"] + n for n, row in enumerate(rows, 1)]


def test_an_item_without_a_response_fails_alone(two: Any) -> None:
    step = EvaluateLikelihood(tasks="held_out", model="student", against="base")
    rows = [ROWS[0], {"_id": "x", "prompt": "Why?", "response": ""}, ROWS[1]]
    outcomes = [outcome for (outcome,) in asyncio.run(step.open(two)(rows))]
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [False, True, False]


def test_the_columns_and_capabilities_are_those_of_the_score() -> None:
    step = EvaluateLikelihood(tasks="held_out", model="student", against="base", response="answer")
    with pytest.raises(DataError, match="no column 'answer'"):
        step.check_columns(["prompt", "response"])
    assert step.needs() == {"model": frozenset({"likelihood"}), "against": frozenset({"likelihood"})}
    assert step.estimate(10).requests == 20
