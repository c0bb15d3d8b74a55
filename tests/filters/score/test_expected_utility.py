"""The mean similarity of a sample with the other samples of its prompt."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.filters.score.expected_utility import ExpectedUtility


def scores(context: Any, rows: list[tuple[str, str | None]], **params: Any) -> list[float | None]:
    table = pa.table({
        "_id": [f"r{n}" for n in range(len(rows))],
        "prompt": [prompt for prompt, _ in rows],
        "response": pa.array([response for _, response in rows], pa.string()),
    })  # fmt: skip
    result = ExpectedUtility(**params).apply(table, context)
    found: list[float | None] = result.columns["expected_utility"].to_pylist()
    return found


def test_a_response_is_scored_by_the_mean_similarity_with_the_other_samples(context: Any) -> None:
    said = [("q", "a b c d"), ("q", "a b c d"), ("q", "a b x y"), ("other", "a b c d")]
    # ROUGE-L of "a b c d" and "a b x y" is 2 * 2 / 8.
    assert scores(context, said) == pytest.approx([0.75, 0.75, 0.5, None])


def test_a_null_text_fails_and_is_no_evidence(context: Any) -> None:
    said = [("q", "a b"), ("q", None), ("q", "a b")]
    assert scores(context, said) == [1.0, None, 1.0]


@pytest.mark.usefixtures("embedder")
def test_cosine_compares_embeddings(context: Any) -> None:
    said = [("q", "the cat sleeps here"), ("q", "the cat sleeps now"), ("q", "stocks fell on monday")]
    first, second, other = scores(context, said, utility="cosine")
    vectors = context.embedders[None].encode([text for _, text in said]).astype(float)
    cosines = vectors @ vectors.T
    assert (first, second, other) == pytest.approx(
        ((cosines[0, 1] + cosines[0, 2]) / 2, (cosines[0, 1] + cosines[1, 2]) / 2,
         (cosines[0, 2] + cosines[1, 2]) / 2), abs=1e-6,
    )  # fmt: skip
    assert other < min(first, second)
