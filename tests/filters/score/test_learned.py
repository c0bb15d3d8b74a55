from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.score.learned import LearnedScore

GOOD, BAD = "sum the list of numbers, case {}", "Lisbon in the rain, part {}"


def pool(rows: Any, labelled: int, noise: bool = False) -> Any:
    texts = [(GOOD if i % 2 else BAD).format(i) for i in range(60)]
    drawn = np.random.default_rng(0).integers(0, 2, 60)
    labels = [float(drawn[i] if noise else i % 2) if i < labelled else None for i in range(60)]
    return rows(prompt=texts, worth=labels)


@pytest.mark.usefixtures("embedder")
def test_unlabelled_rows_are_scored_by_what_the_labelled_ones_teach(context: Any, rows: Any) -> None:
    result = LearnedScore(label="worth", columns=("prompt",)).apply(pool(rows, 20), context)
    predicted = np.array(result.columns["predicted"].to_pylist())
    assert predicted[21::2].min() > predicted[20::2].max()
    assert result.summary["labels"] == 20
    assert result.summary["correlation"] > 0.9


@pytest.mark.usefixtures("embedder")
def test_a_labelled_row_does_not_predict_itself(context: Any, rows: Any) -> None:
    # With labels at random, a fit that had seen them would predict them (more dimensions than rows).
    step = LearnedScore(label="worth", columns=("prompt",), penalty=1e-6)
    result = step.apply(pool(rows, 60, noise=True), context)
    assert abs(result.summary["correlation"]) < 0.5


@pytest.mark.usefixtures("embedder")
def test_too_few_labels_are_one_clear_error(context: Any, rows: Any) -> None:
    with pytest.raises(DataError, match="at least 10 rows with a number in 'worth', found 9"):
        LearnedScore(label="worth", columns=("prompt",)).apply(pool(rows, 9), context)


@pytest.mark.usefixtures("embedder")
def test_a_row_without_text_fails_alone(context: Any, rows: Any) -> None:
    texts = [(GOOD if i % 2 else BAD).format(i) for i in range(20)] + [None]
    table = rows(prompt=texts, worth=[i % 2 == 1 for i in range(20)] + [None])
    result = LearnedScore(label="worth", columns=("prompt",)).apply(table, context)
    assert result.errors is not None
    assert [bool(error) for error in result.errors] == [False] * 20 + [True]
    assert result.columns["predicted"].null_count == 1
