from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.select import consistent
from gristmill.filters.select.consistent import SelectConsistent

QUERIES = [
    "sum of the numbers in a list",
    "length of the words in a text",
    "sort names by their age",
    "read a file",
]
#: The third and fourth are exchanged: noise.
DOCUMENTS = [
    "returns the sum of the numbers in a list",
    "returns the length of the words in a text",
    "opens and reads a file, read all of a file",
    "sorts the names by their age",
]


@pytest.fixture(params=[1, 1024])
def block(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consistent, "BLOCK", request.param)


@pytest.mark.usefixtures("embedder", "block")
def test_a_pair_is_kept_if_its_document_is_among_the_nearest(context: Any, rows: Any) -> None:
    table = rows(prompt=QUERIES, response=DOCUMENTS)
    result = SelectConsistent(nearest=1).apply(table, context)
    assert result.kept.tolist() == [True, True, False, False]
    assert result.columns["rank"].to_pylist()[:2] == [1, 1]
    assert min(result.columns["rank"].to_pylist()[2:]) > 1
    everything = SelectConsistent(nearest=4, min_similarity=-1).apply(table, context)
    assert everything.kept.all()


@pytest.mark.usefixtures("embedder")
def test_a_similarity_below_the_minimum_is_inconsistent(context: Any, rows: Any) -> None:
    table = rows(prompt=QUERIES, response=DOCUMENTS)
    similarity = SelectConsistent(nearest=4, min_similarity=-1).apply(table, context).score
    limit = float(np.sort(similarity)[1])
    result = SelectConsistent(nearest=4, min_similarity=limit).apply(table, context)
    assert result.kept.tolist() == (similarity >= limit).tolist()
    assert result.kept.sum() == 3


@pytest.mark.usefixtures("embedder", "block")
def test_negatives_are_the_nearest_that_are_clearly_farther_than_the_own_document(
    context: Any, rows: Any
) -> None:
    queries = ["the sum of a list"] * 3
    documents = ["the sum of a list", "the sum of a list.", "the sum of two lists"]
    result = SelectConsistent(nearest=3, negatives=2, margin=0.9).apply(
        rows(prompt=queries, response=documents), context
    )
    first, _, last = result.columns["negatives"].to_pylist()
    # The second is nearly a copy of the first, so it is no negative for it.
    assert first == [documents[2]]
    assert last == []


@pytest.mark.usefixtures("embedder")
def test_equal_documents_count_as_one_and_are_no_negatives(context: Any, rows: Any) -> None:
    table = rows(
        prompt=["add a list", "add the list", "a poem"],
        response=["add up the list", "add up the list", "the sea"],
    )
    result = SelectConsistent(nearest=1, negatives=3, margin=1.0).apply(table, context)
    assert result.summary["documents"] == 2
    assert result.columns["rank"].to_pylist()[:2] == [1, 1]
    assert all("add up the list" not in each for each in result.columns["negatives"].to_pylist()[:2])


@pytest.mark.usefixtures("embedder")
def test_a_row_without_one_of_both_fails_alone(context: Any, rows: Any) -> None:
    result = SelectConsistent(nearest=1).apply(
        rows(prompt=["a", None, "b"], response=["a", "x", None]), context
    )
    assert result.errors is not None
    assert [bool(error) for error in result.errors] == [False, True, True]
    assert result.kept.tolist() == [True, False, False]


@pytest.mark.usefixtures("embedder")
def test_the_documents_of_another_step_are_searched_too(context: Any, rows: Any) -> None:
    table = rows(prompt=QUERIES[:2], response=DOCUMENTS[:2])
    context.tables["all"] = rows(response=[*DOCUMENTS[1:], None, QUERIES[0]])
    settings = {"nearest": 1, "min_similarity": -1, "negatives": 9, "margin": 1.0}
    alone = SelectConsistent(**settings).apply(table, context)
    assert alone.kept.tolist() == [True, True]
    result = SelectConsistent(among="all", **settings).apply(table, context)
    assert result.kept.tolist() == [False, True], "a copy of the first query is nearer than its document"
    assert result.summary["documents"] == 5
    assert set(result.columns["negatives"].to_pylist()[1]) == {*DOCUMENTS, QUERIES[0]} - {DOCUMENTS[1]}
    with pytest.raises(DataError, match="among: all: no column 'response'"):
        SelectConsistent(among="all").check_reference("among", "all", ["text"])
