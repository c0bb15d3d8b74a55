from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.embeddings.embed_column import embed


def with_columns(table: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def test_each_text_is_embedded_once_and_nulls_fail(context: Any, embedder: Any, rows: Any) -> None:
    table = rows(prompt=["p", "p", "q", None], response=["a", "a", "b", "c"])
    made = embed(table, ("prompt", "response"), None, context, "here")
    assert sorted(embedder.seen) == ["p\na", "q\nb"]
    assert made.made == 2
    assert made.errors[:3] == [None] * 3
    assert "prompt + response is null" in str(made.errors[3])
    assert made.usable.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(made.vectors[:3], embedder.encode(["p\na", "p\na", "q\nb"]))
    stored = made.columns()
    assert stored["embedding"].type == pa.list_(pa.float32())
    assert stored["embedding"].to_pylist()[3] is None
    np.testing.assert_array_equal(stored["embedding"].to_pylist()[2], made.vectors[2])


def test_stored_vectors_are_used_again_only_for_the_same_text_and_embedder(
    context: Any, embedder: Any, rows: Any
) -> None:
    table = rows(response=["a", "b", None, "c"])
    first = embed(table, ("response",), None, context, "here")
    stored = with_columns(table, first.columns())
    embedder.seen.clear()
    again = embed(stored, ("response",), None, context, "here")
    assert embedder.seen == []
    np.testing.assert_array_equal(again.vectors, first.vectors)

    changed = stored.set_column(1, "response", pa.array(["a", "new", "d", "c"]))
    third = embed(changed.slice(1), ("response",), None, context, "here")
    assert sorted(embedder.seen) == ["d", "new"]
    np.testing.assert_array_equal(third.vectors, embedder.encode(["new", "d", "c"]))

    embedder.seen.clear()
    context.embedders["other"] = embedder
    embed(stored, ("response",), "other", context, "here")
    assert sorted(embedder.seen) == ["a", "b", "c"]


def test_vectors_of_another_width_are_made_again(context: Any, embedder: Any, rows: Any) -> None:
    table = rows(response=["a", "b"])
    marks = embed(table, ("response",), None, context, "here").columns()["embedding_of"].to_pylist()
    stored = with_columns(
        table,
        {
            "embedding": pa.array([[1.0, 0.0], None], pa.list_(pa.float32())),
            "embedding_of": pa.array([marks[0], None]),
        },
    )
    made = embed(stored, ("response",), None, context, "here")
    np.testing.assert_array_equal(made.vectors, embedder.encode(["a", "b"]))


def test_an_empty_table_loads_no_embedder(context: Any, rows: Any) -> None:
    made = embed(rows(response=pa.array([], pa.string())), ("response",), None, context, "here")
    assert made.vectors.shape[0] == 0
    assert len(made.columns()["embedding"]) == 0


def test_columns_that_are_not_text_are_refused(context: Any, embedder: Any, rows: Any) -> None:
    with pytest.raises(DataError, match="here needs text in the column 'n', which holds int64"):
        embed(rows(n=[1]), ("n",), None, context, "here")
