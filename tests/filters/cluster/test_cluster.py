from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError, EngineError
from gristmill.contracts.inference import Completion
from gristmill.contracts.registry import find
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.cluster.cluster import Cluster

TEXTS = [f"the weather in town {i} is sunny and warm" for i in range(30)] + [
    f"SELECT column_{i} FROM table_{i} WHERE id = {i};" for i in range(6)
]

PARTLY = ["a text", None, "bad", "more"]


def test_every_row_gets_its_cluster_and_every_cluster_a_name(context: Any, embedder: Any, rows: Any) -> None:
    result = Cluster(clusters=2, columns=["prompt"]).apply(rows(prompt=TEXTS), context)
    assert result.kept is None
    assert result.errors is None
    assert result.columns["cluster"].to_pylist() == [0] * 30 + [1] * 6
    labels = result.columns["cluster_label"].to_pylist()
    assert len(set(labels)) == 2
    assert labels[0] == "and, in, is"
    assert "select" in labels[-1].split(", ")
    cosines = np.array(result.columns["cluster_cosine"].to_pylist())
    assert 0.5 < cosines.min() < cosines.max() <= 1
    (first, second) = result.summary["clusters"]
    assert (first["rows"], second["rows"]) == (30, 6)
    assert first["label"] == labels[0]
    assert first["mean_cosine"] == pytest.approx(cosines[:30].mean())


def test_auto_finds_the_number(context: Any, embedder: Any, rows: Any) -> None:
    result = Cluster(clusters="auto", columns=["prompt"]).apply(rows(prompt=TEXTS), context)
    assert len(result.summary["clusters"]) == 2
    silhouettes = result.summary["silhouettes"]
    assert max(silhouettes, key=lambda number: silhouettes[number]) == "2"
    assert len(silhouettes) > 3


def test_rows_without_text_or_with_nan_fail_alone(context: Any, embedder: Any, rows: Any) -> None:
    encode = embedder.encode

    def with_nan(texts: Any) -> np.ndarray:
        vectors = encode(texts)
        vectors[[text == "bad" for text in texts]] = np.nan
        return vectors

    embedder.encode = with_nan
    result = Cluster(clusters=3, columns=["prompt"]).apply(
        rows(prompt=["a text", None, "bad", "more"]), context
    )
    assert [error is None for error in result.errors] == [True, False, False, True]
    assert "prompt is null" in result.errors[1]
    assert "NaN" in result.errors[2]
    for name in ("cluster", "cluster_cosine", "cluster_label"):
        assert [value is None for value in result.columns[name].to_pylist()] == [False, True, True, False]


def test_texts_without_words_have_no_label(context: Any, embedder: Any, rows: Any) -> None:
    result = Cluster(clusters=1, columns=["prompt"]).apply(rows(prompt=["1 2 3", "4 5 6"]), context)
    assert result.columns["cluster_label"].to_pylist() == [None, None]


def test_nothing_in_nothing_out(context: Any, rows: Any) -> None:
    table = rows(prompt=pa.array([], pa.string()))
    result = Cluster(clusters="auto", columns=["prompt"]).apply(table, context)
    assert all(len(column) == 0 for column in result.columns.values())
    assert result.summary["clusters"] == []


def test_only_its_columns_are_read(context: Any, embedder: Any, rows: Any) -> None:
    asked: list[Any] = []

    class Watched(TableRows):
        def batches(self, columns: Any = None) -> Any:
            asked.append(columns)
            return super().batches(columns)

    Cluster(clusters=2, columns=["prompt"]).judge(Watched(rows(prompt=TEXTS, other=TEXTS)), context)
    assert {None if each is None else tuple(each) for each in asked} == {("prompt",)}


def test_the_verb_takes_a_number_or_auto(context: Any, embedder: Any, rows: Any) -> None:
    assert find("cluster", "auto") is find("cluster", 8) is Cluster
    assert Cluster.value_field == "clusters"
    for wrong in (0, "many"):
        with pytest.raises(ValidationError):
            Cluster(clusters=wrong)
    with pytest.raises(DataError, match="cluster needs the column 'prompt'"):
        Cluster(clusters=2).apply(rows(promt=["a"], response=["b"]), context)


class Namer:
    """An engine that answers by the words of the question, and fails where it is told to."""

    capabilities: frozenset[str] = frozenset()
    vocab_size = None

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def generate(self, requests: Any) -> list[Completion]:
        told = [request.messages[-1]["content"] for request in requests]
        if any("broken" in text for text in told):
            raise EngineError("one of them is too long", retryable=False)
        self.asked += told
        return [
            Completion(request.id, ' \n"**Warm weather.**"\nmore' if "town" in text else "", (), "stop", 9)
            for request, text in zip(requests, told, strict=True)
        ]


def test_a_model_names_the_clusters_from_their_central_rows(context: Any, embedder: Any, rows: Any) -> None:
    context.engines["namer"] = namer = Namer()
    table = rows(prompt=[*TEXTS, None])
    result = Cluster(clusters=2, columns=["prompt"], labeler="namer").apply(table, context)
    labels = result.columns["cluster_label"].to_pylist()
    # Without a readable answer, a cluster keeps its words.
    assert labels == ["Warm weather"] * 30 + [labels[30]] * 6 + [None]
    assert "select" in labels[30].split(", ")
    first, second = result.summary["clusters"]
    assert (first["label"], first["terms"]) == ("Warm weather", "and, in, is")
    assert second["label"] == second["terms"] == labels[30]
    weather, query = namer.asked
    assert "Typical words: and, in, is\n" in weather
    assert weather.count("the weather in town") == 8
    assert query.count("SELECT") == 6


def test_a_question_that_a_model_refuses_costs_no_other_one(context: Any, embedder: Any, rows: Any) -> None:
    context.engines["namer"] = Namer()
    table = rows(prompt=[text.replace("SELECT", "SELECT broken") for text in TEXTS])
    result = Cluster(clusters=2, columns=["prompt"], labeler="namer").apply(table, context)
    labels = result.columns["cluster_label"].to_pylist()
    assert labels[0] == "Warm weather"
    assert "broken" in labels[-1].split(", ")


def test_a_labeler_is_one_request_per_cluster() -> None:
    assert Cluster(clusters=7, labeler="m").estimate(100).requests == 7
    assert Cluster(clusters=7, labeler="m").estimate(3).requests == 3
    assert Cluster(clusters=7).estimate(100).requests == 0
