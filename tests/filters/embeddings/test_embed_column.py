from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts import stored_rows
from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import EMBED_CHUNK
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.embeddings.embed_column import embed, embed_batches, embed_rows

from ..dedup.stored import BatchedRows


def test_each_text_is_embedded_once_and_nulls_fail(context: Any, embedder: Any, rows: Any) -> None:
    table = rows(prompt=["p", "p", "q", None], response=["a", "a", "b", "c"])
    made = embed(table, ("prompt", "response"), None, context, "here")
    assert sorted(embedder.seen) == ["p\na", "q\nb"]
    assert made.summary == {"texts_embedded": 2, "texts_reused": 0}
    assert made.errors[:3] == [None] * 3
    assert "prompt + response is null" in str(made.errors[3])
    assert made.usable.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(made.vectors[:3], embedder.encode(["p\na", "p\na", "q\nb"]))
    assert not made.vectors[3].any()
    stored = made.columns()["embedding"]
    assert stored.type == pa.list_(pa.float32())
    assert stored.to_pylist()[3] is None
    np.testing.assert_array_equal(stored.to_pylist()[2], made.vectors[2])


def test_a_text_has_one_vector_whatever_columns_it_comes_from(context: Any, embedder: Any, rows: Any) -> None:
    first = embed(rows(response=["a", "b", None, "c"]), ("response",), None, context, "here")
    embedder.seen.clear()
    again = embed(rows(other=["c", "a", "new", "new"]), ("other",), None, context, "there")
    assert embedder.seen == ["new"]
    assert again.summary == {"texts_embedded": 1, "texts_reused": 2}
    np.testing.assert_array_equal(again.vectors[:2], first.vectors[[3, 0]])
    np.testing.assert_array_equal(again.vectors[2:], embedder.encode(["new", "new"]))


def test_another_embedder_does_not_see_the_vectors(context: Any, embedder: Any, rows: Any) -> None:
    table = rows(response=["a", "b"])
    embed(table, ("response",), None, context, "here")
    embedder.seen.clear()
    context.embedders["other"] = embedder
    assert embed(table, ("response",), "other", context, "here").made == 2
    assert embedder.seen == ["a", "b"]


def test_progress_counts_what_was_there(context: Any, embedder: Any, rows: Any) -> None:
    texts = ["x" * (1 + (37 * i) % 90) + str(i) for i in range(2 * EMBED_CHUNK + 10)]
    embed(rows(response=texts[:500]), ("response",), None, context, "here")
    embedder.seen.clear()
    context.reports.clear()
    embed(rows(response=texts), ("response",), None, context, "here")
    assert sorted(embedder.seen) == sorted(texts[500:])
    done = [500, 500 + EMBED_CHUNK, len(texts)]
    assert context.reports == [(float(each), float(len(texts)), "texts") for each in done]


def test_a_step_that_was_stopped_embeds_at_most_one_chunk_again(
    context: Any, embedder: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"text {i}" for i in range(3 * EMBED_CHUNK)]
    asked: list[int] = []

    def stopping() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(context, "check", stopping, raising=False)
    with pytest.raises(KeyboardInterrupt):
        embed(rows(response=texts), ("response",), None, context, "here")
    assert len(embedder.seen) == 2 * EMBED_CHUNK
    embedder.seen.clear()
    again = embed(rows(response=texts), ("response",), None, context, "here")
    assert len(embedder.seen) == EMBED_CHUNK
    assert again.summary == {"texts_embedded": EMBED_CHUNK, "texts_reused": 2 * EMBED_CHUNK}


def test_batches_give_the_same_vectors_and_hold_one_batch(
    context: Any, embedder: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "BATCH_ROWS", 4)
    table = rows(response=["a", "b", None, "c", "a", "d", "e", "b", "f"])
    embed(rows(response=["d"]), ("response",), None, context, "here")
    embedder.seen.clear()
    made = list(embed_batches(TableRows(table), ("response",), None, context, "here"))
    assert [len(each.errors) for each in made] == [4, 4, 1]
    assert sorted(embedder.seen) == ["a", "b", "c", "e", "f"]
    assert made[-1].summary == {"texts_embedded": 5, "texts_reused": 1}
    whole = embed(table, ("response",), None, context, "here")
    np.testing.assert_array_equal(np.concatenate([each.vectors for each in made]), whole.vectors)
    assert [error for each in made for error in each.errors] == whole.errors
    assert context.reports[-2] == (9, 9, "rows")


@pytest.mark.parametrize("size", [1, 2, 4])
def test_rows_are_embedded_batch_by_batch(context: Any, embedder: Any, rows: Any, size: int) -> None:
    for texts in ([None, None, "a", "b", None, "a"], [None] * 3, []):
        table = rows(response=pa.array(texts, pa.string()))
        found = embed_rows(BatchedRows(table, size), ("response",), None, context, "here")
        whole = embed(table, ("response",), None, context, "here")
        np.testing.assert_array_equal(found.vectors, whole.vectors)
        assert found.errors == whole.errors
    with pytest.raises(DataError, match="did you mean 'response'"):
        embed_rows(BatchedRows(table, size), ("respons",), None, context, "here")


def test_a_text_without_a_vector_fails_alone(context: Any, rows: Any) -> None:
    class Words:
        dimensions = 2

        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([[0, 0] if text == "?" else [1, 0] for text in texts], dtype=np.float32)

    context.embedders[None] = Words()
    made = embed(rows(response=["a", "?"]), ("response",), None, context, "here")
    assert made.errors == [None, "here: the embedder has no vector for this text (zeros, NaN or infinity)"]
    assert made.usable.tolist() == [0]


def test_an_empty_table_loads_no_embedder(context: Any, rows: Any) -> None:
    made = embed(rows(response=pa.array([], pa.string())), ("response",), None, context, "here")
    assert made.vectors.shape[0] == 0
    assert len(made.columns()["embedding"]) == 0


def test_columns_that_are_not_text_are_refused(context: Any, embedder: Any, rows: Any) -> None:
    with pytest.raises(DataError, match="here needs text in the column 'n', which holds int64"):
        embed(rows(n=[1]), ("n",), None, context, "here")
