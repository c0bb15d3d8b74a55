from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import TableResult
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.dedup import lsh, minhash
from gristmill.filters.dedup.minhash import MinHashDedup

from .stored import BatchedRows
from .test_shingles import plain_sets

TEXTS = st.lists(
    st.one_of(st.none(), st.text(alphabet="abc ", max_size=14), st.sampled_from(["", "é ß 中", "a b c d"])),
    max_size=14,
)
PROPERTIES = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def every_pair(monkeypatch: Any) -> None:
    """Bands of one row: no pair with a common shingle of importance is missed, whatever the chance."""
    monkeypatch.setattr(minhash, "choose_bands", lambda threshold, permutations: (128, 1))


def similarities(texts: list[str | None], n: int) -> dict[tuple[int, int], float]:
    """The Jaccard similarity of all pairs of texts, by plain Python."""
    usable = [row for row, text in enumerate(texts) if text is not None]
    sets = dict(zip(usable, plain_sets([text for text in texts if text is not None], "words", n)))
    pairs = combinations(usable, 2)
    return {(a, b): len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in pairs}


def survivors(texts: list[str | None], op: MinHashDedup) -> list[int]:
    """The row that survives for each row, by plain Python over all pairs."""
    similarity = similarities(texts, op.ngram or 3)
    alike = {pair: value for pair, value in similarity.items() if value >= op.threshold}
    rank = {
        row: place
        for place, row in enumerate(
            sorted(
                range(len(texts)), key=lambda row: -len(texts[row] or "") if op.survivor == "longest" else 0
            )
        )
    }
    order = sorted(rank, key=rank.__getitem__)
    found = list(range(len(texts)))
    if op.clusters == "components":
        for _ in texts:
            for a, b in alike:
                found[a] = found[b] = min(found[a], found[b], key=rank.__getitem__)
        return found
    for row in order:
        near = {
            other: value
            for pair, value in alike.items()
            for other in pair
            if row in pair and other != row and rank[other] < rank[row] and found[other] == other
        }
        if near:
            found[row] = min(near, key=lambda other: (-near[other], rank[other]))
    return found


def judged(texts: list[str | None], op: MinHashDedup, context: Any, **how: Any) -> TableResult:
    table = pa.table(
        {"_id": [f"r{row}" for row in range(len(texts))], "response": pa.array(texts, pa.string())}
    )
    size = how.pop("size", None)
    rows = TableRows(table, **how) if size is None else BatchedRows(table, size, **how)
    result = op.judge(rows, context)
    assert isinstance(result, TableResult)
    return result


def figures(result: TableResult) -> list[Any]:
    return [
        result.kept.tolist(),
        result.score.tobytes(),
        np.asarray(result.duplicate_of).tolist(),
        result.errors,
        dict(result.summary),
    ]


@PROPERTIES
@given(
    TEXTS,
    st.sampled_from([0.3, 0.5, 0.7, 1.0]),
    st.sampled_from(["components", "greedy"]),
    st.sampled_from(["first", "longest"]),
)
@example(["a b", "a b c"], 0.5, "components", "longest")  # exactly at the threshold
@example(["a b c", "a b"], 0.5, "greedy", "first")
def test_the_result_is_that_of_comparing_all_pairs(
    context: Any, every_pair: None, texts: Any, threshold: float, clusters: Any, survivor: Any
) -> None:
    op = MinHashDedup(threshold=threshold, ngram=2, clusters=clusters, survivor=survivor)
    result = judged(texts, op, context)
    expected = survivors(texts, op)
    assert result.kept.tolist() == [row == of for row, of in enumerate(expected)]
    assert result.duplicate_of.tolist() == [-1 if row == of else of for row, of in enumerate(expected)]
    similarity = similarities(texts, 2)
    for row, of in enumerate(expected):
        if row != of:
            assert result.score[row] == similarity[min(row, of), max(row, of)]
            assert clusters == "components" or result.score[row] >= threshold
    assert [error is not None for error in result.errors or [None] * len(texts)] == [
        text is None for text in texts
    ]


@PROPERTIES
@given(TEXTS, st.sampled_from(["components", "greedy"]), st.integers(1, 9), st.sampled_from([1, 400, None]))
def test_batches_and_memory_do_not_matter(
    context: Any, texts: Any, clusters: Any, size: int, memory: int | None
) -> None:
    op = MinHashDedup(ngram=1, threshold=0.5, clusters=clusters, survivor="longest")
    assert figures(judged(texts, op, context, size=size, memory=memory)) == figures(
        judged(texts, op, context)
    )


@PROPERTIES
@given(TEXTS, st.sampled_from(["components", "greedy"]))
def test_doing_it_again_drops_nothing(context: Any, texts: Any, clusters: Any) -> None:
    op = MinHashDedup(ngram=1, threshold=0.5, clusters=clusters)
    kept = judged(texts, op, context).kept
    assert judged([text for text, keep in zip(texts, kept) if keep], op, context).kept.all()


@PROPERTIES
@given(TEXTS, st.randoms(use_true_random=False))
def test_components_do_not_depend_on_the_order(context: Any, texts: Any, shuffle: random.Random) -> None:
    op = MinHashDedup(ngram=1, threshold=0.5)
    order = list(range(len(texts)))
    shuffle.shuffle(order)
    assert groups(texts, order, op, context) == groups(texts, sorted(order), op, context)


def groups(texts: Any, order: list[int], op: MinHashDedup, context: Any) -> set[frozenset[int]]:
    result = judged([texts[row] for row in order], op, context)
    found: dict[int, set[int]] = {}
    for place, of in enumerate(result.duplicate_of.tolist()):
        found.setdefault(order[place if of < 0 else of], set()).add(order[place])
    return {frozenset(each) for each in found.values()}


def passages(rows: int) -> Iterator[str]:
    """Random passages, each followed by a copy with two changed words."""
    draw = random.Random(0)
    for _ in range(rows):
        words = [f"w{draw.randrange(3000)}" for _ in range(60)]
        yield " ".join(words)
        words[10], words[40] = "changed", "too"
        yield " ".join(words)


def test_most_near_copies_are_found_and_nothing_else(context: Any) -> None:
    texts = list(passages(1500))
    result = judged(texts, MinHashDedup(), context)
    dropped = np.flatnonzero(~result.kept)
    assert result.duplicate_of[dropped].tolist() == (dropped - 1).tolist()
    assert (dropped % 2 == 1).all()
    assert len(dropped) >= 0.99 * 1500
    assert result.score[dropped] == pytest.approx(52 / 64)
    assert result.summary["mean_score"] == pytest.approx(52 / 64)


def test_a_shared_boilerplate_makes_no_duplicates(context: Any) -> None:
    boilerplate = " ".join(f"b{word}" for word in range(40))
    texts = [f"{boilerplate} {' '.join(f'own{row}x{word}' for word in range(30))}" for row in range(2000)]
    result = judged(texts, MinHashDedup(), context)
    assert result.kept.all()
    near = judged([f"{boilerplate} {row}" for row in range(2000)], MinHashDedup(), context)
    assert np.flatnonzero(near.kept).tolist() == [0]


def test_components_follow_a_chain_and_greedy_does_not(context: Any, every_pair: None) -> None:
    texts = ["a b c d", "a b c d e", "b c d e f"]
    chain = judged(texts, MinHashDedup(ngram=1, threshold=0.6), context)
    assert chain.duplicate_of.tolist() == [-1, 0, 0]
    assert chain.score[1:].tolist() == [0.8, 0.5]
    greedy = judged(texts, MinHashDedup(ngram=1, threshold=0.6, clusters="greedy"), context)
    assert greedy.duplicate_of.tolist() == [-1, 0, -1]


def test_the_best_by_a_column_survives(context: Any, rows: Any) -> None:
    table = rows(text=["a b c d", "a b c d", "a b c d", "x y z"], grade=[1.0, 3.0, None, 0.0])
    result = MinHashDedup(columns=("text",), survivor="best", by="grade").apply(table, context)
    assert result.duplicate_of.tolist() == [1, -1, 1, -1]


def test_columns_are_joined_and_all_of_them_are_needed(context: Any, rows: Any) -> None:
    table = rows(a=["one two three", "one two three", None], b=["four five", "other words", "four five"])
    result = MinHashDedup(columns=("a", "b")).apply(table, context)
    assert result.kept.tolist() == [True, True, True]
    assert result.errors == [None, None, "a or b is null"]


def test_rows_with_few_words_are_compared_as_they_are(context: Any) -> None:
    result = judged(["", "Yes.", "yes", "Yes.", "", "!"], MinHashDedup(), context)
    assert result.duplicate_of.tolist() == [-1, -1, -1, 1, 0, -1]


@pytest.mark.parametrize("count", [0, 1, 300])
@pytest.mark.parametrize("memory", [None, 1])
def test_no_rows_one_row_and_equal_rows(context: Any, count: int, memory: int | None) -> None:
    result = judged(["the same words again"] * count, MinHashDedup(), context, memory=memory)
    assert int(result.kept.sum()) == min(count, 1)
    assert result.duplicate_of.tolist() == ([-1] + [0] * (count - 1))[:count]


def test_large_buckets_are_the_same_band_by_band(context: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(lsh, "REACH", 3)
    texts = [f"{'a b c d e f g h i j k l ' * 2} {row % 50}" for row in range(300)]
    op = MinHashDedup(clusters="greedy", survivor="longest")
    assert figures(judged(texts, op, context, size=70, memory=1)) == figures(judged(texts, op, context))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"survivor": "best"}, "by: COLUMN"),
        ({"by": "grade"}, "survivor: best"),
        ({"extend": "new"}, "against: FOLDER"),
        ({"threshold": 0.0}, "threshold"),
        ({"columns": ()}, "columns"),
        ({"against": "x", "extend": "../y"}, "extend"),
    ],
)
def test_bad_parameters_are_told(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        MinHashDedup(**parameters)


def test_a_column_that_is_not_text_is_told(context: Any, rows: Any) -> None:
    with pytest.raises(DataError, match="needs text in the column 'response'"):
        MinHashDedup().apply(rows(response=[1, 2]), context)
