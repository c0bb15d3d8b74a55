"""Evaluation: both models get the same items and seeds, and the metrics follow from the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.inference import Completion, Request
from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.evaluate.constraints import EvaluateConstraints
from gristmill.datagen.sources.constraint_tasks import ConstraintTasks


class Scripted:
    """An engine whose answer is a function of the request, since the model is not under test."""

    capabilities = frozenset({"seed"})

    def __init__(self, answer: Callable[[Request], str]) -> None:
        self.answer = answer
        self.asked: list[Request] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.asked += requests
        return [Completion(r.id, self.answer(r), (1,), "stop", 1) for r in requests]

    async def close(self) -> None: ...


def tasks(count: int) -> list[dict[str, Any]]:
    asked = json.dumps([{"kind": "lower_case"}, {"kind": "no_commas"}])
    return [
        {"_id": f"t{n}", "prompt": f"Task {n}.\nSmall letters.", "constraints": asked} for n in range(count)
    ]


def evaluate(operator: EvaluateConstraints, context: Any, rows: list[dict[str, Any]]) -> pa.Table:
    answers = asyncio.run(operator.open(context)(rows))
    assert all(isinstance(outcome, Kept) for (outcome,) in answers)
    return pa.Table.from_pylist([outcome.row for (outcome,) in answers])  # type: ignore[union-attr]


def test_a_better_model_is_seen_to_be_better(context: Any) -> None:
    student = Scripted(lambda request: "small" if int(request.id[1:].split(":")[0]) % 2 else "Big")
    base = Scripted(lambda request: "Big, too")
    context.engines = {"student": student, "base": base}
    operator = EvaluateConstraints(tasks="evals", model="student", against="base")
    metrics = operator.summary(evaluate(operator, context, tasks(100)))
    assert metrics["n"] == 100
    assert metrics["model"] == {"strict": 0.5, "fraction": 0.75, "loose": 0.5}
    assert metrics["against"] == {"strict": 0.0, "fraction": 0.0, "loose": 0.0}
    assert metrics["gain"]["mean"] == 0.5
    assert 0.38 < metrics["gain"]["ci_low"] < 0.5 < metrics["gain"]["ci_high"] < 0.62
    assert metrics["gain_fraction"]["mean"] == 0.75
    assert metrics["decision"] == "better"
    assert json.loads(json.dumps(metrics)) == metrics
    assert student.asked == base.asked


def test_a_student_and_a_base_are_compared_on_items_of_ifeval(context: Any) -> None:
    """Asked what the items ask; the loose rules forgive the student's opening line, and the strict do not."""
    items = [
        {
            "_id": f"t{n}",
            "key": n,
            "prompt": f"Name bird {n} in quotes, without a comma.",
            "instruction_id_list": ["startend:quotation", "punctuation:no_comma"],
            "kwargs": [{}, {}],
        }
        for n in range(40)
    ]
    student = Scripted(lambda r: '"Wren"' if int(r.id[1:].split(":")[0]) % 4 else 'Sure, here:\n"Wren"')
    context.engines = {"student": student, "base": Scripted(lambda _: "Wren")}
    operator = EvaluateConstraints(tasks="items", model="student", against="base")
    metrics = operator.summary(evaluate(operator, context, items))
    assert metrics["model"] == {"strict": 0.75, "fraction": 0.75, "loose": 1.0}
    assert metrics["against"] == {"strict": 0.0, "fraction": 0.5, "loose": 0.0}
    assert (metrics["gain"]["mean"], metrics["gain_loose"]["mean"]) == (0.75, 1.0)
    assert student.asked[0].messages[-1]["content"] == "Name bird 0 in quotes, without a comma."


def test_like_models_are_not_told_apart_and_a_worse_one_is_called_worse(context: Any) -> None:
    context.engines = {
        "a": Scripted(lambda request: "small" if request.seed % 2 else "Big"),
        "b": Scripted(lambda request: "small" if request.seed % 4 else "Big, too"),
    }
    same = EvaluateConstraints(tasks="evals", model="a", against="a")
    metrics = same.summary(evaluate(same, context, tasks(40)))
    assert (metrics["gain"]["mean"], metrics["decision"]) == (0, "abstain")
    worse = EvaluateConstraints(tasks="evals", model="a", against="b")
    metrics = worse.summary(evaluate(worse, context, tasks(300)))
    assert metrics["gain"]["ci_high"] < 0
    assert metrics["decision"] == "worse"


def test_without_an_opponent_there_is_no_gain(context: Any) -> None:
    context.engines = {"base": Scripted(lambda _: "small")}
    operator = EvaluateConstraints(tasks="evals", model="base")
    table = evaluate(operator, context, tasks(3))
    assert operator.summary(table) == {"n": 3, "model": {"strict": 1.0, "fraction": 1.0, "loose": 1.0}}
    assert operator.summary(table.slice(0, 0)) == {"n": 0}


def test_samples_are_averaged_and_their_seeds_differ(context: Any) -> None:
    engine = Scripted(lambda request: "small" if request.id.endswith(":0") else "Big")
    context.engines = {"base": engine}
    operator = EvaluateConstraints(tasks="evals", model="base", samples=4, temperature=0.8)
    (item,) = evaluate(operator, context, tasks(1)).to_pylist()
    assert (item["strict"], item["fraction"], item["response"]) == (0.25, 0.625, "small")
    assert len({request.seed for request in engine.asked}) == 4
    assert operator.needs() == {"model": frozenset({"seed"})}


def test_an_item_does_not_depend_on_how_the_items_are_split(context: Any) -> None:
    context.engines = {"base": Scripted(lambda request: "small" if request.seed % 2 else "Big")}
    operator = EvaluateConstraints(tasks="evals", model="base", samples=2, temperature=0.5)
    rows = tasks(9)
    parts = [evaluate(operator, context, rows[start:stop]) for start, stop in ((0, 4), (4, 5), (5, 9))]
    assert pa.concat_tables(parts).equals(evaluate(operator, context, rows))


def test_the_tasks_of_the_source_are_what_it_reads(context: Any) -> None:
    rows = pa.Table.from_batches(ConstraintTasks(split="eval", rows=30).read(context)).to_pylist()
    context.engines = {"base": Scripted(lambda request: "Yes.")}
    operator = EvaluateConstraints(tasks="evals", model="base")
    table = evaluate(operator, context, [{**row, "_id": f"t{n}"} for n, row in enumerate(rows)])
    assert 0 < operator.summary(table)["model"]["fraction"] < 1


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"prompt": "No constraints."}, "column 'constraints' is missing"),
        ({"prompt": "Null.", "constraints": None}, "column 'constraints' holds NoneType"),
        ({"prompt": None, "constraints": "[]"}, "column 'prompt' holds NoneType"),
        ({"prompt": "None at all.", "constraints": "[]"}, "must be a JSON list"),
        ({"prompt": "No JSON.", "constraints": "lower case"}, "is not JSON text"),
        ({"prompt": "Which?", "constraints": '[{"kind": "shout"}]'}, "unknown kind of constraint 'shout'"),
    ],
)
def test_a_bad_task_fails_alone_and_costs_no_tokens(context: Any, bad: dict[str, Any], told: str) -> None:
    engine = Scripted(lambda request: "small")
    context.engines = {"base": engine}
    rows = [tasks(1)[0], {"_id": "t9", **bad}, tasks(2)[1]]
    operator = EvaluateConstraints(tasks="evals", model="base", against="base", samples=2, temperature=1)
    first, failed, last = (outcome for (outcome,) in asyncio.run(operator.open(context)(rows)))
    assert isinstance(first, Kept)
    assert isinstance(last, Kept)
    assert isinstance(failed, Failed)
    assert told in failed.error
    assert not failed.retryable
    assert {request.id[:2] for request in engine.asked} == {"t0", "t1"}


def test_an_item_whose_pattern_takes_too_long_fails_alone(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.datagen.verify.constraints.SECONDS", 1)
    asked = json.dumps([{"kind": "keywords:existence", "keywords": ["(a+)+$"]}])
    rows = [tasks(1)[0], {"_id": "t9", "prompt": "Write a.", "constraints": asked}]
    context.engines = {"base": Scripted(lambda request: "a" * 40 + "!")}
    operator = EvaluateConstraints(tasks="evals", model="base")
    kept, failed = (outcome for (outcome,) in asyncio.run(operator.open(context)(rows)))
    assert isinstance(kept, Kept)
    assert isinstance(failed, Failed)
    assert "its constraints cannot be judged" in failed.error


def test_a_blank_answer_keeps_no_constraint(context: Any) -> None:
    context.engines = {"base": Scripted(lambda request: " \n")}
    (item,) = evaluate(EvaluateConstraints(tasks="evals", model="base"), context, tasks(1)).to_pylist()
    assert (item["strict"], item["fraction"], item["constraint_results"]) == (0.0, 0.0, [False, False])


def test_the_same_greedy_answer_is_not_asked_twice() -> None:
    with pytest.raises(ValidationError, match="temperature above 0"):
        EvaluateConstraints(tasks="evals", model="base", samples=4)
