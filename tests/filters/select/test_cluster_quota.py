from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gristmill.filters.select.cluster_quota import ClusterQuota, choose, quotas


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(0, 300))
@example([10, 14, 14], 37)
def test_quotas_add_up_and_are_as_even_as_sizes_allow(sizes: list[int], rows: int) -> None:
    given_sizes = np.array(sizes, dtype=np.int64)
    found = quotas(given_sizes, rows)
    assert found.sum() == min(rows, sum(sizes))
    assert (found <= given_sizes).all()
    open_clusters = found[found < given_sizes]
    if len(open_clusters):
        assert open_clusters.max() - open_clusters.min() <= 1
        # A remainder may fill a cluster that is larger by one.
        assert (found[found == given_sizes] <= open_clusters.min() + 1).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=40), st.integers(1, 45))
def test_the_best_of_each_cluster_are_chosen(pairs: list[tuple[int, int]], rows: int) -> None:
    labels = np.unique([c for c, _ in pairs], return_inverse=True)[1].astype(np.int32)
    value = np.array([v for _, v in pairs], dtype=float)
    chosen = choose(labels, value, rows)
    np.testing.assert_array_equal(
        np.bincount(labels[chosen], minlength=labels.max() + 1), quotas(np.bincount(labels), rows)
    )
    for c in range(labels.max() + 1):
        kept, left = value[chosen & (labels == c)], value[~chosen & (labels == c)]
        assert not len(kept) or not len(left) or kept.min() >= left.max()


TEXTS = [f"the weather in town {i} is sunny and warm" for i in range(30)] + [
    f"SELECT column_{i} FROM table_{i} WHERE id = {i};" for i in range(6)
]


def test_a_rare_kind_gets_its_share(context: Any, embedder: Any, rows: Any) -> None:
    table = rows(prompt=["p"] * 36, response=TEXTS, grade=list(range(36)))
    select = ClusterQuota(rows=10, clusters=2, columns=["response"], by="grade")
    result = select.apply(table, context)
    assert np.flatnonzero(result.kept).tolist() == [25, 26, 27, 28, 29, 31, 32, 33, 34, 35]
    assert result.columns["cluster"].to_pylist() == [0] * 30 + [1] * 6
    assert result.score.tolist() == list(range(36))
    summary = result.summary
    assert [(c["before"], c["after"]) for c in summary["clusters"]] == [(30, 5), (6, 5)]
    assert sum(c["random"] for c in summary["clusters"]) == 10
    assert summary["coverage"]["selected"] == 1.0
    assert 0 <= summary["spread"]["random"] <= 2
    assert select.apply(table, context).kept.tolist() == result.kept.tolist()


@pytest.mark.parametrize("pick", ["nearest", "random"])
def test_without_a_column_to_rank_by(context: Any, embedder: Any, rows: Any, pick: str) -> None:
    table = rows(prompt=["p"] * 36, response=TEXTS)
    result = ClusterQuota(rows=8, clusters=2, pick=pick).apply(table, context)
    assert int(result.kept.sum()) == 8
    clusters = np.array(result.columns["cluster"].to_pylist())
    for c in (0, 1):
        mine = clusters == c
        assert result.score[mine & result.kept].min() >= result.score[mine & ~result.kept].max()


def test_rows_without_text_fail_and_have_no_cluster(context: Any, embedder: Any, rows: Any) -> None:
    result = ClusterQuota(rows=50, clusters=2, columns=["response"]).apply(
        rows(response=["some text", None, "other words"]), context
    )
    assert result.kept.tolist() == [True, False, True]
    assert [error is None for error in result.errors] == [True, False, True]
    assert result.columns["cluster"].to_pylist()[1] is None


def test_nothing_in_nothing_out(context: Any, rows: Any) -> None:
    import pyarrow as pa

    result = ClusterQuota(rows=5, clusters=2, columns=["response"]).apply(
        rows(response=pa.array([], pa.string())), context
    )
    assert len(result.kept) == 0
    assert result.summary["clusters"] == []


def test_the_number_of_clusters_can_be_found(context: Any, embedder: Any, rows: Any) -> None:
    result = ClusterQuota(rows=10, clusters="auto", columns=["response"]).apply(rows(response=TEXTS), context)
    assert [c["after"] for c in result.summary["clusters"]] == [5, 5]


def test_rows_with_nan_fail_alone(context: Any, embedder: Any, rows: Any) -> None:
    encode = embedder.encode
    embedder.encode = lambda texts: np.where(
        np.array([text == "bad" for text in texts])[:, None], np.float32(np.nan), encode(texts)
    )
    table = rows(response=["some text", "bad", "other words"])
    result = ClusterQuota(rows=50, clusters=2, columns=["response"]).apply(table, context)
    assert result.kept.tolist() == [True, False, True]
    assert "NaN" in result.errors[1]
