"""Prompts: distinct, deterministic, and from a single split."""

from __future__ import annotations

import json
from itertools import combinations
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.datagen.constraints.compose import combination, split_of
from gristmill.datagen.constraints.kinds import KINDS, conflict, constraints_from
from gristmill.datagen.constraints.topics import EVAL_TOPICS, FORMS, TRAIN_TOPICS
from gristmill.datagen.sources.constraint_tasks import ConstraintTasks


def read(context: object, **fields: object) -> pa.Table:
    return pa.Table.from_batches(ConstraintTasks(**fields).read(context))


def test_the_lists_are_long_and_the_topics_disjoint() -> None:
    assert len(TRAIN_TOPICS) + len(EVAL_TOPICS) >= 120
    assert len(set(TRAIN_TOPICS) | set(EVAL_TOPICS)) == len(TRAIN_TOPICS) + len(EVAL_TOPICS)
    assert len({form.name for form in FORMS}) == len(FORMS) >= 12
    assert all("{topic}" in form.text and "\n" not in form.text for form in FORMS)
    assert any(form.choice for form in FORMS)


def test_nothing_of_the_evaluation_split_is_seen_in_training(context: object) -> None:
    train = read(context, split="train", rows=5000, max_constraints=3)
    held_out = read(context, split="eval", rows=2000, max_constraints=3)
    for column in ("topic", "combination", "prompt"):
        assert not set(train[column].to_pylist()) & set(held_out[column].to_pylist()), column
    assert set(train["topic"].to_pylist()) <= set(TRAIN_TOPICS)
    assert set(held_out["topic"].to_pylist()) <= set(EVAL_TOPICS)


def test_about_a_quarter_of_the_pairs_is_held_out_whatever_the_seed() -> None:
    pairs = ["+".join(sorted(pair)) for pair in combinations(KINDS, 2) if not conflict(*pair)]
    share = sum(split_of(pair) == "eval" for pair in pairs) / len(pairs)
    assert len(pairs) > 200
    assert 0.2 < share < 0.3
    assert all(split_of(kind) == "train" for kind in KINDS)


def test_both_sides_see_every_kind(context: object) -> None:
    for split in ("train", "eval"):
        table = read(context, split=split, rows=3000, max_constraints=2)
        assert {kind for kinds in table["kinds"].to_pylist() for kind in kinds} == set(KINDS)


def test_no_kind_alone_is_all_on_the_held_out_side() -> None:
    """A kind with few parameters may by chance be in one split only, and training would lack it."""
    for kind in KINDS.values():
        alone = {combination([kind.sample(Random(seed))]) for seed in range(500)}
        held_out = sum(split_of(name) == "eval" for name in alone) / len(alone)
        assert held_out <= 0.5, kind.kind
        if len(alone) > 6:
            assert held_out > 0, kind.kind


def test_a_row_tells_the_truth_about_its_prompt(context: object) -> None:
    for row in read(context, rows=400, max_constraints=3).to_pylist():
        constraints = constraints_from(row["constraints"])
        assert [constraint.kind for constraint in constraints] == row["kinds"]
        assert combination(constraints) == row["combination"]
        assert split_of(row["combination"]) == row["split"] == "train"
        form = next(form for form in FORMS if form.name == row["form"])
        assert row["prompt"].partition("\n")[0] == form.about(row["topic"])
        assert form.choice == any(constraint.choice for constraint in constraints)
        assert not any(conflict(*pair) for pair in combinations(row["kinds"], 2))
        for constraint in constraints:
            said = {constraint.describe(Random(seed)) for seed in range(60)}
            assert any(sentence in row["prompt"] for sentence in said)


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 60), low=st.integers(1, 3), more=st.integers(0, 1))
@settings(max_examples=25, deadline=None)
def test_prompts_are_distinct_deterministic_and_a_prefix_of_more(
    seed: int, rows: int, low: int, more: int
) -> None:
    def prompts(count: int) -> list[str]:
        source = ConstraintTasks(rows=count, min_constraints=low, max_constraints=low + more)
        tasks = list(source.tasks(seed))
        assert all(low <= len(task.constraints) <= low + more for task in tasks)
        return [task.prompt for task in tasks]

    some = prompts(rows)
    assert len(set(some)) == rows
    assert prompts(rows) == some
    assert prompts(rows + 7)[:rows] == some


def test_another_seed_gives_other_prompts(context: object) -> None:
    first = read(context, rows=50)
    context.seed = 18  # type: ignore[attr-defined]
    assert read(context, rows=50)["prompt"] != first["prompt"]


def test_only_the_kinds_asked_for(context: object) -> None:
    table = read(context, rows=60, kinds=["lower_case", "bullets", "no_commas"], split="train")
    assert {kind for kinds in table["kinds"].to_pylist() for kind in kinds} <= {
        "lower_case",
        "bullets",
        "no_commas",
    }


def test_rows_are_exact_over_several_batches(context: object) -> None:
    batches = list(ConstraintTasks(rows=4097).read(context))  # type: ignore[arg-type]
    assert [batch.num_rows for batch in batches] == [4096, 1]
    assert len({batch.schema for batch in batches}) == 1
    assert json.loads(batches[1]["constraints"][0].as_py())


def test_kinds_that_cannot_fill_the_rows_are_refused(context: object) -> None:
    with pytest.raises(DataError, match=r"only 0 different eval prompts .* lower_case"):
        read(context, rows=5, split="eval", kinds=["lower_case"])
    with pytest.raises(DataError, match="fewer constraints per prompt"):
        read(context, rows=5, kinds=["lower_case", "upper_case"], min_constraints=2)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": 5, "kinds": ["lowercase"]}, "'lowercase'"),
        ({"rows": 5, "kinds": []}, "at least one kind"),
        ({"rows": 5, "min_constraints": 3, "max_constraints": 2}, "above max_constraints"),
        ({"rows": 5, "split": "test"}, "split"),
    ],
)
def test_bad_parameters_are_refused(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=r".*") as raised:
        ConstraintTasks(**fields)  # type: ignore[arg-type]
    assert named in str(raised.value)
