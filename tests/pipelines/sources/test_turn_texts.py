"""Conversations as JSON text in Parquet files and saved data sets."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources.dataset import HuggingFaceDataset
from gristmill.pipelines.sources.parquet import Parquet
from gristmill.pipelines.sources.turn_texts import LOOKED_AT, columns_of_turns

NOW = cast("Any", SimpleNamespace(check=lambda: None))
ASKED = {"role": "user", "content": "q"}
CALL = {"id": "c", "type": "function", "function": {"name": "w", "arguments": "{}"}}
TALKS: list[list[dict[str, Any]]] = [
    [ASKED, {"role": "assistant", "content": "a"}],
    [ASKED, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
]


def read(table: pa.Table, folder: Path, kind: str = "parquet", **options: Any) -> list[dict[str, Any]]:
    if kind == "parquet":
        pq.write_table(table, folder / "a.parquet", row_group_size=2)
        source: Any = Parquet(path=str(folder / "a.parquet"), **options)
        assert source.makes_columns(None) is not None
    else:
        datasets.Dataset(table).save_to_disk(folder / "saved")
        source = HuggingFaceDataset(path=str(folder / "saved"), **options)
    batches = [batch for piece in source.pieces(NOW) for batch in piece.read()]
    made = pa.Table.from_batches(batches)
    assert list(source.makes_columns(None)) == made.column_names  # the plan knows
    assert source.makes_types({})[made.column_names[0]] == made.schema.field(0).type
    rows: list[dict[str, Any]] = made.to_pylist()
    return rows


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_a_column_of_which_all_texts_are_turns_is_read_as_turns(kind: str, tmp_path: Path) -> None:
    texts = [json.dumps(talk) for talk in TALKS]
    rows = read(
        pa.table({"messages": [texts[0], None, texts[1], texts[0]], "n": [0, 1, 2, 3]}), tmp_path, kind
    )
    assert [row["n"] for row in rows] == [0, 1, 2, 3]
    found = [without_nulls(row["messages"]) for row in rows]
    assert found == [without_nulls(each) for each in (TALKS[0], None, TALKS[1], TALKS[0])]


@pytest.mark.parametrize("kind", ["parquet", "saved"])
@pytest.mark.parametrize(
    "odd", ["plain text", "[1, 2]", "[]", '{"role": "user"}', '[{"role": "user", "content": 5}]', "[{"]
)
def test_one_other_text_leaves_the_column_as_it_is(odd: str, kind: str, tmp_path: Path) -> None:
    texts = [json.dumps(TALKS[0]), json.dumps(TALKS[1]), odd]
    rows = read(pa.table({"messages": texts, "n": [0, 1, 2]}), tmp_path, kind)
    assert [row["messages"] for row in rows] == texts


def test_a_format_reads_them_by_force_and_refuses_the_others(tmp_path: Path) -> None:
    texts = [json.dumps(TALKS[0]), "plain text"]
    with pytest.raises(DataError, match="is not of the format messages"):
        read(pa.table({"messages": texts}), tmp_path, format="messages")
    only = pa.table({"messages": texts[:1]})
    assert without_nulls(read(only, tmp_path, format="messages")[0]["messages"]) == TALKS[0]
    assert read(only, tmp_path, format="as_is")[0]["messages"] == texts[0]


@pytest.mark.parametrize(("before", "found"), [(LOOKED_AT - 1, ["prompt"]), (LOOKED_AT, [])])
def test_a_plan_reads_some_plain_texts_of_a_column_alone(before: int, found: list[str]) -> None:
    texts = ["plain text"] * before + [json.dumps([ASKED])] + ["plain text"] * 10 * LOOKED_AT
    read_on = iter(texts)
    schema = pa.schema({"prompt": pa.string()})
    assert list(columns_of_turns(schema, ["prompt"], lambda name: read_on, some=True)) == found
    assert len(texts) - len(list(read_on)) == LOOKED_AT


def test_conversations_and_preferences_as_text_are_read_too(tmp_path: Path) -> None:
    said = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    [row] = read(pa.table({"conversations": [json.dumps(said)]}), tmp_path)
    assert without_nulls(row["messages"]) == TALKS[0]
    pair = {name: [json.dumps([{"role": "assistant", "content": name}])] for name in ("chosen", "rejected")}
    [row] = read(pa.table({"prompt": [json.dumps([ASKED])], **pair}), tmp_path)
    assert [row[name][0]["content"] for name in ("prompt", "chosen", "rejected")] == [
        "q",
        "chosen",
        "rejected",
    ]


def test_texts_without_any_value_stay_texts(tmp_path: Path) -> None:
    rows = read(pa.table({"messages": pa.array([None, None], pa.string()), "n": [0, 1]}), tmp_path)
    assert [row["messages"] for row in rows] == [None, None]
