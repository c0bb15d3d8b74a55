"""The part of a gap between a weak model and a ceiling that a student recovers."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.evaluate.recovered_gap import RecoveredGap, recovered

STEP = RecoveredGap(tasks="student", weak="weak", ceiling="ceiling")


def judged(share: float, items: int = 200) -> list[dict[str, Any]]:
    """Judged answers of which a share passes, spread over the items."""
    return [
        {"_id": f"r{n}", "prompt": f"{n}?", "passed": (n * 37) % items < share * items} for n in range(items)
    ]


def measured(context: Any, student: float, weak: float, ceiling: float) -> dict[str, Any]:
    context.tables |= {
        "weak": pa.Table.from_pylist(judged(weak)),
        "ceiling": pa.Table.from_pylist(judged(ceiling)),
    }
    outcomes = asyncio.run(STEP.open(context)(judged(student)))
    rows = [outcome.row for (outcome,) in outcomes if isinstance(outcome, Kept)]
    assert len(rows) == 200
    return dict(STEP.summary(pa.Table.from_pylist(judged(student)).select(["prompt"]).append_column(
        "score", pa.array([row["score"] for row in rows])
    ).append_column("weak_score", pa.array([row["weak_score"] for row in rows])).append_column(
        "ceiling_score", pa.array([row["ceiling_score"] for row in rows])
    )))  # fmt: skip


def test_the_recovered_part_is_that_of_the_means(context: Any) -> None:
    found = measured(context, student=0.5, weak=0.4, ceiling=0.8)
    assert (found["n"], found["weak"], found["model"], found["ceiling"]) == (200, 0.4, 0.5, 0.8)
    assert found["recovered"]["mean"] == pytest.approx(0.25)
    assert 0.1 < found["recovered"]["ci_low"] < 0.25 < found["recovered"]["ci_high"] < 0.4
    assert found["gap"]["mean"] == pytest.approx(0.4)


def test_without_a_gap_nothing_is_recovered(context: Any) -> None:
    found = measured(context, student=0.5, weak=0.5, ceiling=0.5)
    assert found["recovered"] == {"mean": None, "ci_low": None, "ci_high": None}
    assert recovered([], 0.95, 100)["n"] == 0


def test_an_interval_covers_the_true_part_as_often_as_it_says() -> None:
    """200 drawn sets of items, of which the weak model solves 0.4, the student 0.6 and the ceiling 0.8."""
    import numpy as np

    random, covered = np.random.default_rng(3), 0
    for _ in range(200):
        level = random.random(300)
        items = [(float(x < 0.6), float(x < 0.4), float(x < 0.8)) for x in level]
        found = recovered(items, 0.9, 400)["recovered"]
        covered += found["ci_low"] <= 0.5 <= found["ci_high"]
    assert 168 <= covered <= 192


def test_an_item_that_another_model_lacks_fails_alone(context: Any) -> None:
    context.tables |= {"weak": pa.Table.from_pylist(judged(0.4)[1:]),
                       "ceiling": pa.Table.from_pylist(judged(0.8))}  # fmt: skip
    first, *others = (outcome for (outcome,) in asyncio.run(STEP.open(context)(judged(0.5))))
    assert isinstance(first, Failed)
    assert "'weak' has no score" in first.error
    assert all(isinstance(outcome, Kept) for outcome in others)


def test_scores_may_be_decimals_which_sql_writes(context: Any) -> None:
    row = {"_id": "r0", "prompt": "0?", "passed": Decimal("0.5")}
    context.tables |= {"weak": pa.Table.from_pylist([row]), "ceiling": pa.Table.from_pylist([row])}
    ((outcome,),) = asyncio.run(STEP.open(context)([row]))
    assert isinstance(outcome, Kept)
    assert outcome.row == {"score": 0.5, "weak_score": 0.5, "ceiling_score": 0.5}


def test_what_the_other_steps_lack_is_told_when_planning() -> None:
    with pytest.raises(DataError, match=r"the step 'weak_answers' .* no column 'passed'"):
        STEP.check_reference("weak", "weak_answers", ["prompt"])
