from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.dedup.semantic import SemanticDedup

TEXTS = [
    "The cat sat on the mat by the door.",
    "Gradient descent takes a step against the slope.",
    "The cat sat on the mat by the door!",
    "Bread needs flour, water, salt and time.",
    None,
    "The cat sat on the mat by the door today.",
]


def test_near_copies_name_the_row_they_are_near(context: Any, embedder: Any, rows: Any) -> None:
    result = SemanticDedup(threshold=0.85).apply(rows(response=TEXTS), context)
    assert result.kept.tolist() == [True, True, False, True, True, False]
    assert result.duplicate_of.tolist() == [-1, -1, 0, -1, -1, 0]
    assert "response is null" in result.errors[4]
    cosine = embedder.encode([TEXTS[0], TEXTS[2]])
    assert result.score[2] == pytest.approx(float(cosine[0] @ cosine[1]), abs=1e-5)
    assert result.columns == {}
    assert result.summary["duplicates"] == 2
    assert set(SemanticDedup(store_embeddings=True).apply(rows(response=["a"]), context).columns) == {
        "embedding"
    }


def test_the_preferred_of_a_group_is_kept(context: Any, embedder: Any, rows: Any) -> None:
    table = rows(response=TEXTS, grade=[1.0, 0.0, 3.0, 0.0, 9.0, None])
    longest = SemanticDedup(threshold=0.85, survivor="longest").apply(table, context)
    assert np.flatnonzero(~longest.kept).tolist() == [0, 2]
    assert longest.duplicate_of[0] == 5
    best = SemanticDedup(threshold=0.85, survivor="best", by="grade").apply(table, context)
    assert np.flatnonzero(~best.kept).tolist() == [0, 5]
    assert best.duplicate_of[5] == 2


def test_doing_it_again_drops_nothing_and_embeds_nothing(context: Any, embedder: Any, rows: Any) -> None:
    table = rows(response=[f"{word} number {n}" for n in range(20) for word in ("alpha", "beta", "Alpha")])
    dedup = SemanticDedup(threshold=0.9)
    first = dedup.apply(table, context)
    assert 0 < first.kept.sum() < 60
    for name, column in first.columns.items():
        table = table.append_column(name, column)
    embedder.seen.clear()
    again = dedup.apply(table.filter(pa.array(first.kept)), context)
    assert again.kept.all()
    assert embedder.seen == []


@pytest.mark.parametrize("method", ["pairs", "cells"])
def test_rows_with_nan_fail_alone(context: Any, embedder: Any, rows: Any, method: str) -> None:
    encode = embedder.encode
    embedder.encode = lambda texts: np.where(
        np.array([text == "bad" for text in texts])[:, None], np.float32(np.nan), encode(texts)
    )
    table = rows(response=["some text", "bad", "some text", "other words"])
    result = SemanticDedup(method=method).apply(table, context)
    assert result.duplicate_of.tolist() == [-1, -1, 0, -1]
    assert [error is None for error in result.errors] == [True, False, True, True]
    assert "NaN" in result.errors[1]
    assert result.summary["search"]["method"] == method


def test_only_the_columns_it_needs_are_read(context: Any, embedder: Any, rows: Any) -> None:
    asked: list[Any] = []

    class Watched(TableRows):
        def table(self, columns: Any = None) -> pa.Table:
            asked.append(columns)
            return super().table(columns)

        def batches(self, columns: Any = None) -> Any:
            asked.append(columns)
            return super().batches(columns)

    table = rows(response=["a", "b"], grade=[1, 2], other=["c", "d"])
    SemanticDedup(survivor="best", by="grade").judge(Watched(table), context)
    assert {None if each is None else tuple(each) for each in asked} == {("response",), ("grade",)}


def test_an_empty_table_stays_empty(context: Any, rows: Any) -> None:
    result = SemanticDedup().apply(rows(response=pa.array([], pa.string())), context)
    assert len(result.kept) == 0


def test_wrong_settings_are_refused(context: Any, embedder: Any, rows: Any) -> None:
    for wrong in ({"survivor": "best"}, {"by": "grade"}, {"threshold": 1.5}, {"columns": []}):
        with pytest.raises(ValidationError):
            SemanticDedup(**wrong)
    with pytest.raises(DataError, match="needs numbers"):
        SemanticDedup(survivor="best", by="response").apply(rows(response=["a"]), context)


@pytest.mark.engine
def test_a_real_embedder_finds_paraphrases(context: Any, rows: Any) -> None:
    from gristmill.pipelines.engines.sentence_embedder import load as load_embedder
    from gristmill.pipelines.weights import resolve

    context.embedders[None] = load_embedder(resolve("all-minilm-l6-v2"))
    result = SemanticDedup(threshold=0.8).apply(
        rows(
            response=[
                "How do I reset my password?",
                "What is the capital of France?",
                "How can I reset my password?",
                "Photosynthesis turns light into sugar.",
                "Which city is the capital of France?",
            ]
        ),
        context,
    )
    assert result.duplicate_of.tolist() == [-1, -1, 0, -1, 1]
    assert result.summary["texts_embedded"] == 5
