from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.score.diversity import (
    compression_ratio,
    distinct_ngrams,
    mean_nearest_distance,
    vendi_score,
    word_entropy,
)
from gristmill.filters.score.qdc import QualityDiversityComplexity

VARIED = [
    "How do bees find their way back to the hive?",
    "Write a function that reverses a linked list.",
    "Name three rivers that flow into the Black Sea.",
    "Why did the price of bread rise in 1788?",
    "Translate 'good morning' into Finnish.",
    "What is the derivative of a sine?",
]


def test_distinct_ngrams() -> None:
    assert distinct_ngrams(["a b a b"], 1) == 2 / 4
    assert distinct_ngrams(["a b a b", "B A"], 2) == 2 / 4  # ab, ba, ab; ba
    assert distinct_ngrams(["a"], 2) == 0.0


def test_the_entropy_is_that_of_the_words() -> None:
    assert word_entropy(["a b c d", "A b"]) == pytest.approx(2 * 2 / 6 * np.log2(3) + 2 / 6 * np.log2(6))
    assert word_entropy(["same same", "same"]) == word_entropy([]) == 0.0


def test_vendi_counts_the_different_vectors() -> None:
    eye = np.eye(6, dtype=np.float32)
    assert vendi_score(eye) == pytest.approx(6)
    assert vendi_score(eye[[0, 0, 0, 0]]) == pytest.approx(1)
    assert vendi_score(eye[[0, 1, 0, 1, 0, 1, 0, 1]]) == pytest.approx(2)  # more rows than dimensions
    third = np.array([2 / 3, 1 / 3])
    assert vendi_score(eye[[0, 0, 1]]) == pytest.approx(np.exp(-(third * np.log(third)).sum()))
    assert vendi_score(eye[:0]) == 0.0


def test_nearest_distance_and_compression() -> None:
    eye = np.eye(3, dtype=np.float32)
    assert mean_nearest_distance(eye) == pytest.approx(1.0)
    assert mean_nearest_distance(eye[[0, 0, 1]]) == pytest.approx(1 / 3)
    assert mean_nearest_distance(eye[:1]) is None
    assert compression_ratio(VARIED * 5) > 2 * compression_ratio(VARIED)


def test_a_filter_that_drops_copies_raises_diversity(rows: Any, embedder: Any, context: Any) -> None:
    copied = [*VARIED, *([VARIED[0]] * 18)]
    context.tables["rated"] = rows(prompt=copied, reward=[1.0] * 6 + [0.0] * 18)
    step = QualityDiversityComplexity(columns=("prompt",), before="rated", quality=("reward",))
    result = step.apply(rows(prompt=VARIED, reward=[1.0] * 6), context)
    before, after = result.summary["before"], result.summary["after"]
    assert result.kept is None
    assert not result.columns
    assert (before["rows"], after["rows"]) == (24, 6)
    assert before["measured"] == after["measured"] == 6  # diversity is compared at one size
    assert (before["quality"]["reward"], after["quality"]["reward"]) == (0.25, 1.0)
    for name in ("distinct_1", "distinct_2", "distinct_3", "entropy", "nearest_distance", "vendi"):
        assert after["diversity"][name] > before["diversity"][name], name
    assert after["diversity"]["compression_ratio"] < before["diversity"]["compression_ratio"]
    assert after["complexity"]["words"] == pytest.approx(np.mean([len(text.split()) for text in VARIED]))


def test_rows_without_text_are_kept_and_not_measured(rows: Any, embedder: Any, context: Any) -> None:
    step = QualityDiversityComplexity(columns=("prompt",))
    summary = step.apply(rows(prompt=[*VARIED, None]), context).summary
    assert (summary["after"]["rows"], list(summary)) == (6, ["after"])
    empty = step.apply(rows(prompt=VARIED).slice(0, 0), context).summary["after"]
    assert (empty["rows"], empty["diversity"]["vendi"], empty["complexity"]["words"]) == (0, 0.0, None)


def test_an_unknown_column_is_told(rows: Any, embedder: Any, context: Any) -> None:
    with pytest.raises(DataError, match="did you mean 'reward'"):
        QualityDiversityComplexity(columns=("prompt",), quality=("rewrad",)).apply(
            rows(prompt=VARIED, reward=[1.0] * 6), context
        )


def test_rows_without_text_count_nowhere(rows: Any, embedder: Any, context: Any) -> None:
    step = QualityDiversityComplexity(columns=("prompt",), quality=("reward",), complexity=("depth",))
    table = rows(prompt=[None, *VARIED], reward=[9.0, *[1.0] * 6], depth=[9.0, *range(6)])
    after = step.apply(table, context).summary["after"]
    assert (after["rows"], after["measured"]) == (6, 6)
    assert (after["quality"], after["complexity"]["depth"]) == ({"reward": 1.0}, 2.5)
