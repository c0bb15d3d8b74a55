"""What holds for every operator that drops, chooses or groups rows, whatever is in them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gristmill.contracts.operators import WholeTable
from gristmill.contracts.outcomes import TableResult
from gristmill.contracts.registry import NAMED, find
from gristmill.filters.cluster.cluster import Cluster
from gristmill.filters.dedup.decontaminate import Decontaminate
from gristmill.filters.dedup.exact import ExactDedup
from gristmill.filters.dedup.minhash import MinHashDedup
from gristmill.filters.dedup.prefix import PrefixDedup
from gristmill.filters.dedup.rouge import RougeDedup
from gristmill.filters.dedup.same_id import SameId
from gristmill.filters.dedup.semantic import SemanticDedup
from gristmill.filters.dedup.substring import SubstringDedup
from gristmill.filters.score.group_mean import GroupMean
from gristmill.filters.score.learned import LearnedScore
from gristmill.filters.score.neighbor_distance import NeighborDistance
from gristmill.filters.score.qdc import QualityDiversityComplexity
from gristmill.filters.select.best import SelectBest
from gristmill.filters.select.best_group import SelectBestGroup
from gristmill.filters.select.cluster_quota import ClusterQuota
from gristmill.filters.select.consistent import SelectConsistent
from gristmill.filters.select.longest import SelectLongest
from gristmill.filters.select.nearest import SelectNearest
from gristmill.filters.select.part import SelectPart
from gristmill.filters.select.random import RandomSelect
from gristmill.filters.select.transport import SelectTransport
from gristmill.filters.select.vote import Vote

from .dedup.stored import BatchedRows

TEXT = ("response",)
PROPERTIES = settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

DEDUPS: dict[str, WholeTable] = {
    "exact": ExactDedup(columns=TEXT, normalize="none"),
    "exact prose": ExactDedup(columns=TEXT, normalize="prose"),
    "exact python": ExactDedup(normalize="python"),
    "minhash": MinHashDedup(),
    "minhash characters": MinHashDedup(shingles="characters", clusters="greedy", survivor="best", by="grade"),
    "rouge": RougeDedup(columns=TEXT),
    "semantic": SemanticDedup(),
    "semantic cells": SemanticDedup(method="cells", survivor="best", by="grade"),
    "substring": SubstringDedup(length=16),
    "substring cut": SubstringDedup(length=16, action="cut"),
    "decontaminate": Decontaminate(against=("target",), n=8, semantic=0.95),
}
SELECTIONS: dict[str, WholeTable] = {
    "best": SelectBest(group=(), by="grade", rows=4),
    "best of each": SelectBest(by="grade"),
    "best group": SelectBestGroup(group=("prompt",), by="grade"),
    "cluster quota": ClusterQuota(rows=4, clusters=3, columns=TEXT),
    "cluster quota auto": ClusterQuota(rows=4, clusters="auto", columns=TEXT, by="grade"),
    "consistent": SelectConsistent(negatives=2),
    "longest": SelectLongest(rows=4),
    "nearest": SelectNearest(towards="target", columns=TEXT, rows=4),
    "nearest mean": SelectNearest(towards="target", columns=TEXT, rows=4, take="mean"),
    "random": RandomSelect(rows=4),
    "random by weight": RandomSelect(rows=4, weight="grade", group=("prompt",)),
    "transport": SelectTransport(towards="target", columns=TEXT, rows=4),
    "vote": Vote(answer="response"),
}
CLUSTERS: dict[str, WholeTable] = {
    "cluster": Cluster(clusters=3, columns=TEXT),
    "cluster auto": Cluster(clusters="auto", columns=TEXT),
}
ALL = DEDUPS | SELECTIONS | CLUSTERS
SCORES: dict[str, WholeTable] = {
    "group mean": GroupMean(by="grade", group=("prompt",)),
    "learned": LearnedScore(label="grade", columns=TEXT),
    "neighbor distance": NeighborDistance(columns=TEXT),
    "qdc": QualityDiversityComplexity(columns=TEXT, quality=("grade",), sample=9),
}
#: Answers are compared as a column, and so are documents.
WHOLE_COLUMN = {"vote", "consistent"}
EMBEDDING = [name for name, operator in ALL.items() if "embedder" in type(operator).model_fields]
#: A row is dropped for an earlier one, or of equals the first one wins: the order says which one stays.
BY_ORDER = {
    "exact prose",
    "exact python",
    "minhash",
    "rouge",
    "semantic",
    "substring",
    "substring cut",
    "vote",
}

HUGE = "lorem ipsum dolor " * 2000
HOSTILE = [
    None, "", " ", "\x00\x01\x7f\ufffd", "\ud7ff\ue000", "é", "e\u0301", "\u202eevil", "🙂" * 9, "中文文本",
    "\r\n\t", "NaN", "a", "a a a a a a a a a", HUGE, HUGE + "x", "```python\nx = (\n```", "x = 1\n",
    "\\N{bad}", '[{"role": null}]', "the same words again and again, and once more after that",
]  # fmt: skip
GRADES = [None, 0.0, -0.0, 1.0, -1.0, 1e308, float("nan"), float("inf"), -float("inf")]
ROWS = st.lists(
    st.tuples(
        st.sampled_from([None, "p", "q"]),
        st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12)),
        st.sampled_from(GRADES),
    ),
    min_size=1,
    max_size=12,
)


def table_of(rows: list[tuple[Any, Any, Any]]) -> pa.Table:
    prompts, responses, grades = zip(*rows)
    return pa.table(
        {
            "_id": [f"r{number}" for number in range(len(rows))],
            "prompt": pa.array(prompts, pa.string()),
            "response": pa.array(responses, pa.string()),
            "grade": pa.array(grades, pa.float64()),
        }
    )


def plain(rows: int) -> pa.Table:
    """Distinct texts of three kinds, of which some are near others; every number once."""
    draw = random.Random(3)
    kinds = (
        "the weather in the town of {} is warm and {}",
        "SELECT {} FROM {} WHERE id;",
        "{} plus {} are {}",
    )
    words = [f"{draw.choice('bcdfgklm')}{draw.choice('aeiou')}{draw.choice('nrstx')}{n}" for n in range(rows)]
    responses = [
        kinds[n % 3].format(words[n], words[n - n % 2], words[n // 2]) + " and so on" * n for n in range(rows)
    ]
    grades = draw.sample(range(1, 1000), rows)
    return table_of(
        [(f"p{n % 4}", text, float(grade)) for n, (text, grade) in enumerate(zip(responses, grades))]
    )


@pytest.fixture
def bench(context: Any, embedder: Any) -> Any:
    """A context with the target rows of those operators that compare rows with some."""
    context.tables["target"] = plain(30).slice(20)
    return context


def judged(operator: WholeTable, table: pa.Table, bench: Any, size: int = 1000) -> TableResult:
    result = operator.judge(BatchedRows(table, size), bench)
    assert isinstance(result, TableResult)
    return result


def kept_ids(result: TableResult, table: pa.Table) -> list[str]:
    kept = np.ones(table.num_rows, bool) if result.kept is None else result.kept
    failed = [error is not None for error in result.errors or [None] * table.num_rows]
    ids: list[str] = table["_id"].filter(pa.array(kept & ~np.array(failed, bool))).to_pylist()
    return ids


def figures(result: TableResult) -> list[Any]:
    """All that is said of the rows; NaN as text, since it equals nothing."""
    duplicates = result.duplicate_of
    return [
        None if result.kept is None else result.kept.tolist(),
        [str(score) for score in ([] if result.score is None else result.score)],
        duplicates.tolist() if isinstance(duplicates, np.ndarray) else duplicates,
        result.errors,
        {name: str(column.to_pylist()) for name, column in result.columns.items()},
    ]


def test_every_such_operator_is_here() -> None:
    classes = {type(operator) for operator in ALL.values()}
    named = [(verb, name) for verb in ("dedup", "select") for name in NAMED[verb]]
    registered = {find(verb, name) for verb, name in [*named, ("cluster", 3), ("decontaminate", "target")]}
    # `select: agreement` runs programs: tests/datagen/execution has it. `dedup: prefix` reads no texts.
    # `select: part` chooses by place alone: test_part.py; `dedup: id` by `_id` alone: test_same_id.py.
    registered -= {PrefixDedup, SelectPart, SameId}
    assert {each for each in registered if ".filters." in each.__module__} == classes


@pytest.mark.parametrize("name", ALL)
@PROPERTIES
@given(rows=ROWS)
@example(rows=[("p", text, 1.0) for text in HOSTILE])
@example(rows=[("p", None, None)])
@example(rows=[("p", "the very same text in each of the rows", 1.0)] * 6)
def test_whatever_the_rows_hold_each_is_accounted_for(name: str, rows: Any, bench: Any) -> None:
    table = table_of(rows)
    result = judged(ALL[name], table, bench)
    rules = [result.rule] * len(rows) if isinstance(result.rule, str) else result.rule
    errors = result.errors or [None] * len(rows)
    kept = [True] * len(rows) if result.kept is None else result.kept.tolist()
    of = [None] * len(rows) if result.duplicate_of is None else list(result.duplicate_of)
    ids = table["_id"].to_pylist()
    assert len(kept) == len(errors) == len(rules) == len(of) == len(rows)
    assert all(len(column) == len(rows) for column in result.columns.values())
    assert all(rule or stays or error for rule, stays, error in zip(rules, kept, errors))
    for row, other in enumerate(of):
        if other is not None and other != -1 and name != "decontaminate":
            number = ids.index(other) if isinstance(other, str) else int(other)
            assert (kept[row], kept[number], errors[number]) == (False, True, None)


@pytest.mark.parametrize("name", ALL)
@PROPERTIES
@given(rows=ROWS, size=st.integers(1, 5), cuts=st.integers(1, 4))
def test_batches_and_chunks_do_not_matter(name: str, rows: Any, size: int, cuts: int, bench: Any) -> None:
    table = table_of(rows)
    parts = pa.concat_tables([table.slice(start, cuts) for start in range(0, len(rows), cuts)])
    assert figures(judged(ALL[name], parts, bench, size)) == figures(judged(ALL[name], table, bench))


class Texts(BatchedRows):
    """Rows whose texts come in batches of five, and not in one table."""

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        assert not {"prompt", "response"} & set(self.column_names if columns is None else columns)
        return super().table(columns)


@pytest.mark.parametrize("name", [name for name in ALL | SCORES if name not in WHOLE_COLUMN])
def test_texts_are_read_in_batches(name: str, bench: Any) -> None:
    operator, table = (ALL | SCORES)[name], plain(24)
    result, whole = operator.judge(Texts(table, 5), bench), judged(operator, table, bench)
    assert isinstance(result, TableResult)
    assert figures(result) == figures(whole)
    if name == "qdc":  # all that it says
        assert result.summary == whole.summary


@pytest.mark.parametrize("name", {**DEDUPS, **SELECTIONS})
@PROPERTIES
@given(rows=ROWS)
def test_what_was_kept_is_kept_again(name: str, rows: Any, bench: Any) -> None:
    table = table_of(rows)
    result = judged(ALL[name], table, bench)
    if "response" in result.columns:  # of `action: cut`
        table = table.set_column(2, "response", result.columns["response"])
    first = kept_ids(result, table)
    again = table.filter(pa.array([each in first for each in table["_id"].to_pylist()], pa.bool_()))
    if first:
        assert kept_ids(judged(ALL[name], again, bench), again) == first


@pytest.mark.parametrize("name", [name for name in ALL if name not in BY_ORDER])
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_rows_does_not_matter(name: str, seed: int, bench: Any) -> None:
    table = plain(24)
    order = list(range(24))
    random.Random(seed).shuffle(order)
    shuffled = table.take(order)
    one, other = judged(ALL[name], table, bench), judged(ALL[name], shuffled, bench)
    assert set(kept_ids(one, table)) == set(kept_ids(other, shuffled))
    for column in one.columns:
        if column != "cluster_cosine":
            assert one.columns[column].take(pa.array(order)).to_pylist() == other.columns[column].to_pylist()


@pytest.mark.parametrize("name", sorted(BY_ORDER))
@pytest.mark.parametrize("seed", range(3))
def test_the_order_decides_at_most_which_of_several_stays(name: str, seed: int, bench: Any) -> None:
    """Copies of rows that are far apart: of each, one is left."""
    originals = [f"{word} " * 12 + word for word in ("alpha", "brave", "charlie", "delta", "echo")]
    texts = [text for text in originals for _ in range(4)]
    random.Random(seed).shuffle(texts)
    table = table_of([(text, text, 1.0) for text in texts])
    result = judged(ALL[name], table, bench)
    assert sorted(table["response"].filter(pa.array(result.kept)).to_pylist()) == sorted(originals)


@pytest.mark.parametrize("name", EMBEDDING)
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_text_without_a_vector_costs_no_other_row_anything(
    name: str, value: float, bench: Any, embedder: Any
) -> None:
    encode = embedder.encode

    def broken(texts: Any) -> np.ndarray:
        vectors = encode(texts)
        vectors[["bad" in text for text in texts]] = value
        return vectors

    embedder.encode = broken
    good = plain(20)
    bad = table_of([("p0", "bad", 1.0), ("p1", "so bad", 2.0)])
    bad = bad.set_column(0, "_id", pa.array(["x0", "x1"]))
    mixed = pa.concat_tables([bad.slice(0, 1), good.slice(0, 7), bad.slice(1), good.slice(7)])
    alone, beside = judged(ALL[name], good, bench), judged(ALL[name], mixed, bench)
    names = mixed["_id"].to_pylist()
    if name != "decontaminate":  # which has other ways to compare such rows
        assert [names[row] for row, error in enumerate(beside.errors or ()) if error] == ["x0", "x1"]
    assert kept_ids(alone, good) == [each for each in kept_ids(beside, mixed) if each not in ("x0", "x1")]
    rows = pa.array([row for row, each in enumerate(names) if each not in ("x0", "x1")])
    for column, values in alone.columns.items():
        assert values.to_pylist() == beside.columns[column].take(rows).to_pylist()


@pytest.mark.parametrize(
    "name", ["best", "cluster quota", "longest", "nearest", "nearest mean", "random", "transport"]
)
def test_more_rows_than_there_are_means_all(name: str, bench: Any) -> None:
    more = {"rows": 100} | ({"clusters": 90} if name == "cluster quota" else {})
    table = plain(10)
    operator = ALL[name].model_copy(update=more)
    assert len(kept_ids(judged(operator, table, bench), table)) == 10


def test_more_clusters_than_rows_means_one_for_each(bench: Any) -> None:
    found = judged(Cluster(clusters=50, columns=TEXT), plain(10), bench)
    assert sorted(found.columns["cluster"].to_pylist()) == list(range(10))


@pytest.mark.parametrize("name", ALL)
def test_equal_rows_are_one_duplicate_group_and_one_cluster(name: str, bench: Any) -> None:
    text = "nothing but these very words stands in each and every one of the rows"
    table = table_of([(text, text, 1.0)] * 9)
    result = judged(ALL[name], table, bench)
    kept = len(kept_ids(result, table))
    if name in DEDUPS and name != "decontaminate":
        assert kept == 1
    elif name in CLUSTERS:
        assert set(result.columns["cluster"].to_pylist()) == {0}
    else:
        asked = {"best of each": 1, "vote": 1, "best group": 9, "consistent": 9, "decontaminate": 9}
        assert kept == asked.get(name, 4)
