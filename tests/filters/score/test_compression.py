from __future__ import annotations

import zlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.score.compression import CompressionAlignment, alignment, compressed_size

TASKS = [
    "Write a Python function that returns the sum of a list of numbers.",
    "Write a Python function that returns the largest number of a list.",
    "Write a Python function that counts the words of a text.",
]


def plain_distance(x: str, y: str) -> float:
    sizes = [len(zlib.compress(text.encode(), 6)) for text in (x, y, x + y)]
    return (sizes[2] - min(sizes[:2])) / max(sizes[:2])


@given(st.text(min_size=1, max_size=200), st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=3))
def test_the_alignment_is_one_minus_the_mean_normalized_compression_distance(
    x: str, others: list[str]
) -> None:
    try:
        target = [(text.encode(), compressed_size(text)) for text in others]
        expected = 1 - sum(plain_distance(x, other) for other in others) / len(others)
    except UnicodeEncodeError:
        return
    assert alignment(x, target) == pytest.approx(expected)


def test_rows_of_the_tasks_kind_score_higher(context: Any, rows: Any) -> None:
    context.tables["tasks"] = rows(prompt=TASKS)
    pool = rows(
        prompt=[
            "Write a Python function that returns the product of a list of numbers.",
            "What should I see in Lisbon in three days with two small children?",
            None,
        ]
    )
    step = CompressionAlignment(towards="tasks", columns=("prompt",))
    result = step.open(context)(pool)
    near, far, none = result.columns["alignment"].to_pylist()
    assert near > far + 0.1
    assert none is None
    assert result.errors == [None, None, "score: compression: no text in prompt"]


def test_a_target_without_rows_or_text_is_one_clear_error(context: Any, rows: Any) -> None:
    step = CompressionAlignment(towards="tasks", columns=("prompt",))
    context.tables["tasks"] = rows(prompt=pa.array([], pa.string()))
    with pytest.raises(DataError, match="the step 'tasks', which has none"):
        step.open(context)
    context.tables["tasks"] = rows(prompt=pa.array([None, ""], pa.string()))
    with pytest.raises(DataError, match="'tasks' has no text in prompt"):
        step.open(context)


def test_the_target_is_sampled_by_the_seed(context: Any, rows: Any) -> None:
    context.tables["tasks"] = rows(prompt=[f"Task number {i} about {'abc'[i % 3] * i}" for i in range(40)])
    pool = rows(prompt=["Task number 7 about bbbbbbb"])

    def score(seed: int, sample: int = 3) -> float:
        context.seed = seed
        step = CompressionAlignment(towards="tasks", columns=("prompt",), sample=sample)
        return step.open(context)(pool).columns["alignment"][0].as_py()

    assert score(1) == score(1)
    assert len({score(seed) for seed in range(6)}) > 1
    assert len({score(seed, sample=40) for seed in range(3)}) == 1
