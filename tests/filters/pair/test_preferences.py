"""Preference pairs: chosen and rejected responses, and the rules of filtered rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import Filtered
from gristmill.filters.pair.preferences import PreferencePairs
from gristmill.pipelines.run.outcomes import from_new_rows


def test_acecoders_pairs_of_programs(context: Any, rows: Any) -> None:
    table = rows(
        prompt=["p"] * 5 + ["q"] * 2 + ["s"],
        response=["all", "most", "half", "few", "none", "good", "fair", "alone"],
        pass_rate=[1.0, 0.8, 0.5, 0.2, 0.0, 0.7, 0.1, 1.0],
        tests=["t1"] * 5 + ["t2"] * 2 + ["t3"],
    )
    operator = PreferencePairs(
        by="pass_rate", min_margin=0.4, min_chosen=0.8, min_rejected=0.01, pairs=None, columns=("tests",)
    )
    made = operator.apply(table, context)
    assert made.rows == [
        {
            "prompt": "p",
            "chosen": "all",
            "rejected": "few",
            "chosen_score": 1.0,
            "rejected_score": 0.2,
            "tests": "t1",
        }
    ], "the next pair, 0.8 over 0.5, is not apart by 0.4; nothing of q is good enough"
    assert made.parents == [["r0", "r3"]]
    assert made.unused["r5"] == Filtered("no_pair", 0.7)
    assert set(made.unused) == {"r1", "r2", "r4", "r5", "r6", "r7"}
    every = operator.model_copy(update={"strategy": "all"}).apply(table, context)
    assert [(row["chosen"], row["rejected"]) for row in every.rows] == [
        ("all", "few"), ("all", "half"), ("most", "few"),
    ]  # fmt: skip
    assert every.summary == {"groups": 3, "pairs": 3, "mean_margin": pytest.approx((0.8 + 0.5 + 0.6) / 3),
                             "longer_chosen": pytest.approx(1 / 3)}  # fmt: skip


def test_equal_texts_and_what_is_null_make_no_pairs(context: Any, rows: Any) -> None:
    table = rows(
        task=["t"] * 5,
        prompt=["p", "p", "p", "p", None],
        response=["same", "same", None, "x", "y"],
        score=[1.0, 0.0, 0.5, None, 0.0],
    )
    made = PreferencePairs(by="score", group=("task",)).apply(table, context)
    assert not made.rows
    assert made.unused == {
        "r0": Filtered("no_pair", 1.0),
        "r1": Filtered("duplicate_response", 0.0, "r0"),
        "r2": Filtered("null"),
        "r3": Filtered("null"),
        "r4": Filtered("null"),
    }


groups = st.lists(
    st.tuples(st.sampled_from("pq"), st.sampled_from(["a", "b", "c", "d", None]),
              st.none() | st.integers(0, 4)),
    min_size=1,
    max_size=20,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups, st.sampled_from(["best_worst", "all", "random"]), st.none() | st.integers(1, 3), st.integers(0, 2)
)
def test_every_row_is_accounted_for(
    context: Any,
    given: list[tuple[str, str | None, int | None]],
    strategy: Any,
    pairs: int | None,
    margin: int,
) -> None:
    table = pa.table(
        {
            "_id": [f"r{n}" for n in range(len(given))],
            "prompt": [prompt for prompt, _, _ in given],
            "response": pa.array([text for _, text, _ in given], pa.string()),
            "score": pa.array([score for _, _, score in given], pa.int64()),
        }
    )
    operator = PreferencePairs(by="score", strategy=strategy, pairs=pairs, min_margin=margin)
    made = operator.apply(table, context)
    by_id = {f"r{n}": row for n, row in enumerate(given)}
    for row, (better, worse) in zip(made.rows, made.parents, strict=True):
        assert by_id[better] == (row["prompt"], row["chosen"], row["chosen_score"])
        assert by_id[worse] == (row["prompt"], row["rejected"], row["rejected_score"])
        assert row["chosen"] != row["rejected"]
        assert row["chosen_score"] - row["rejected_score"] >= max(margin, 1e-6)
    if pairs is not None:
        assert all(sum(row["prompt"] == name for row in made.rows) <= pairs for name in "pq")
    parents = pa.array([[]] * len(given), pa.list_(pa.string()))
    committed = from_new_rows(table.append_column("_parents", parents), made, fingerprint="f")
    assert committed.num_rows == len(made.rows) + len(made.unused)
    assert operator.apply(table, context) == made, "the same again"


def test_draws_depend_on_the_seed_and_not_on_other_groups(context: Any, rows: Any) -> None:
    texts = [f"text {n}" for n in range(12)]
    one = rows(prompt=["p"] * 12, response=texts, score=list(range(12)))
    operator = PreferencePairs(by="score", strategy="random", pairs=4)
    alone = operator.apply(one, context)
    more = rows(prompt=["p"] * 12 + ["q"] * 2, response=[*texts, "x", "y"], score=[*range(12), 1, 2])
    assert operator.apply(more, context).rows[:4] == alone.rows
    context.seed += 1
    assert operator.apply(one, context).rows != alone.rows


def test_what_cannot_be_paired_up_is_refused(context: Any, rows: Any) -> None:
    table = rows(prompt=["p"], response=["x"], score=["high"])
    with pytest.raises(DataError, match="needs numbers; the column 'score'"):
        PreferencePairs(by="score").apply(table, context)
    with pytest.raises(DataError, match="did you mean 'score'"):
        PreferencePairs(by="scores").apply(table, context)
    with pytest.raises(ValidationError):
        PreferencePairs(by="score", min_margin=-1)
