"""Layouts of files: the same rows from JSON Lines, Parquet and saved data sets."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.layouts import RowReader
from gristmill.contracts.operators import FAILURE
from gristmill.contracts.rows import without_nulls
from gristmill.pipelines.sources.batch_reader import BatchReader
from gristmill.pipelines.sources.dataset import HuggingFaceDataset
from gristmill.pipelines.sources.jsonl import Jsonl
from gristmill.pipelines.sources.parquet import Parquet

ALPACA = Path(__file__).parents[4] / "shared" / "data" / "alpaca_demo.jsonl"


def said(who: str, value: str) -> dict[str, str]:
    return {"from": who, "value": value}


TOOLS = [{"type": "function", "function": {"name": "w", "description": "weather"}}]
SHAREGPT = [
    {
        "conversations": [
            said("human", "Ulm?"),
            said("function_call", '{"name": "w", "arguments": {"city": "Ulm"}}'),
            said("observation", "12"),
            said("gpt", "12 degrees."),
        ],
        "tools": TOOLS,
        "id": 1,
    },
    {"conversations": [said("human", "Hi"), said("gpt", "Hello")], "tools": None, "id": 2},
]
CALL = {"id": "call_1", "type": "function", "function": {"name": "w", "arguments": '{"city": "Ulm"}'}}
MESSAGES = [
    [
        {"role": "user", "content": "Ulm?"},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "12", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "12 degrees."},
    ],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
]


def rows_of(source: Any, context: Any) -> list[dict[str, Any]]:
    return [without_nulls(row) for row in pa.Table.from_batches(list(source.read(context))).to_pylist()]


def jsonl(path: Path, rows: list[dict[str, Any]], **more: Any) -> Jsonl:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Jsonl(path=str(path), **more)


def parquet(path: Path, rows: list[dict[str, Any]], **more: Any) -> Parquet:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return Parquet(path=str(path), **more)


def saved(path: Path, rows: list[dict[str, Any]], **more: Any) -> HuggingFaceDataset:
    datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return HuggingFaceDataset(path=str(path), **more)


@pytest.mark.parametrize(("write", "name"), [(jsonl, "a.jsonl"), (parquet, "a.parquet"), (saved, "a")])
def test_sharegpts_function_form_is_the_same_from_every_file(
    tmp_path: Path, context: Any, write: Any, name: str
) -> None:
    rows = rows_of(write(tmp_path / name, SHAREGPT), context)
    assert [row["messages"] for row in rows] == MESSAGES
    assert [row["id"] for row in rows] == [1, 2]
    assert [row.get("tools") for row in rows] == [json.dumps(TOOLS), None]
    assert not any("conversations" in row for row in rows)


@pytest.mark.parametrize(("write", "name"), [(jsonl, "a.jsonl"), (parquet, "a.parquet")])
def test_columns_are_renamed_and_chosen_by_their_new_names(
    tmp_path: Path, context: Any, write: Any, name: str
) -> None:
    source = write(tmp_path / name, SHAREGPT, rename={"id": "number"}, columns=("number", "messages"))
    assert [list(row) for row in rows_of(source, context)] == [["number", "messages"]] * 2
    assert source.makes_columns(None) == ["number", "messages"]
    own = write(tmp_path / name, SHAREGPT, columns=("conversations",))
    assert [list(row) for row in rows_of(own, context)] == [["conversations"]] * 2


@pytest.mark.skipif(not ALPACA.is_file(), reason="the shared data is not here")
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_all_of_the_alpaca_demos_inputs_are_in_its_prompts(tmp_path: Path, context: Any, form: str) -> None:
    given = [json.loads(line) for line in ALPACA.read_text().splitlines()]
    source = Jsonl(path=str(ALPACA)) if form == "jsonl" else parquet(tmp_path / "a.parquet", given)
    rows = rows_of(source, context)
    assert len(rows) == 999
    assert sum(bool(row["input"]) for row in rows) == 412
    assert [row["prompt"] for row in rows] == [
        "\n\n".join(text for text in (row["instruction"], row["input"]) if text) for row in given
    ]
    assert [row["response"] for row in rows] == [row["output"] for row in given]


@pytest.mark.parametrize(("write", "name"), [(jsonl, "a.jsonl"), (parquet, "a.parquet"), (saved, "a")])
def test_turns_with_other_keys_have_one_type_and_arguments_are_text(
    tmp_path: Path, context: Any, write: Any, name: str
) -> None:
    """Calls of tools have other arguments in each row."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": "x"}}}
    rows = [
        {"messages": [{"role": "user", "content": "q", "name": "x"}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [call], "score": 0.5}]},
    ]
    source = write(tmp_path / name, rows)
    table = pa.Table.from_batches(list(source.read(context)))
    kind = table.schema.field("messages").type
    assert pa.types.is_list(kind)
    assert sorted(field.name for field in kind.value_type) == [
        "content",
        "name",
        "role",
        "score",
        "tool_calls",
    ]
    first, second = (without_nulls(row) for row in table.to_pylist())
    assert first == rows[0]
    assert second["messages"][0]["score"] == 0.5
    function = second["messages"][0]["tool_calls"][0]["function"]
    assert json.loads(function["arguments"]) == {"a": 1, "b": "x"}


def test_a_key_of_turns_whose_values_differ_is_json_text_by_itself(tmp_path: Path, context: Any) -> None:
    rows = [{"messages": [{"role": "user", "content": "q", "meta": meta}]} for meta in ({"a": 1}, [2], "c")]
    found = rows_of(jsonl(tmp_path / "a.jsonl", rows), context)
    assert [row["messages"][0]["meta"] for row in found] == ['{"a": 1}', "[2]", '"c"']
    assert [row["messages"][0]["content"] for row in found] == ["q"] * 3


def test_one_odd_row_of_json_stays_as_it_is(tmp_path: Path, context: Any) -> None:
    rows = [*SHAREGPT, {"conversations": [{"value": "no one said it"}], "id": 3}]
    found = rows_of(jsonl(tmp_path / "a.jsonl", rows), context)
    assert found[1]["messages"] == MESSAGES[1]
    assert found[2] == {"conversations": [{"value": "no one said it"}], "id": 3}


@pytest.mark.parametrize(("write", "name"), [(jsonl, "a.jsonl"), (parquet, "a.parquet")])
def test_a_format_that_rows_do_not_have_is_one_clear_error(
    tmp_path: Path, context: Any, write: Any, name: str
) -> None:
    source = write(tmp_path / name, [{"title": "t"}], format="sharegpt")
    with pytest.raises(DataError, match=r"a\.(jsonl:1|parquet): .*not of the format sharegpt.*as_is"):
        rows_of(source, context)
    assert rows_of(write(tmp_path / name, SHAREGPT, format="as_is"), context)[0]["conversations"]


def test_a_parquet_row_of_another_layout_is_named_and_nothing_of_it_lost(
    tmp_path: Path, context: Any
) -> None:
    rows = [*SHAREGPT, {"conversations": [{"from": None, "value": "no one"}], "tools": None, "id": 3}]
    with pytest.raises(
        DataError, match=r"row 2 of a batch is not of the format sharegpt: its 'conversations'"
    ):
        rows_of(parquet(tmp_path / "a.parquet", rows), context)
    empty: Mapping[str, Any] = {"conversations": None, "tools": None, "id": 3}
    assert rows_of(parquet(tmp_path / "b.parquet", [*SHAREGPT, dict(empty)]), context)[2] == {"id": 3}


def test_a_table_whose_turns_are_typed_already_is_not_read_row_by_row(tmp_path: Path, context: Any) -> None:
    """Whatever the order of its columns and keys: its batches stay in Arrow."""
    turn = pa.struct([("role", pa.string()), ("content", pa.large_string()), ("weight", pa.int64())])
    table = pa.table(
        {
            "id": [1],
            "messages": pa.array([[{"role": "user", "content": "q", "weight": None}]], pa.list_(turn)),
            "tools": ["[]"],
        }
    )
    assert BatchReader.of(table.schema, RowReader(), "a") is None
    pairs = pa.schema([(name, pa.large_string()) for name in ("rejected", "prompt", "chosen")])
    assert BatchReader.of(pairs, RowReader(), "a") is None
    pq.write_table(table, tmp_path / "a.parquet")
    found = pa.Table.from_batches(list(Parquet(path=str(tmp_path / "a.parquet")).read(context)))
    assert found.schema.equals(table.schema)


@pytest.mark.parametrize(("write", "name"), [(jsonl, "a.jsonl"), (parquet, "a.parquet"), (saved, "a")])
def test_pieces_are_read_on_other_machines(tmp_path: Path, context: Any, write: Any, name: str) -> None:
    """With their layout, as Ray's workers get them."""
    source = write(tmp_path / name, SHAREGPT)
    pieces = pickle.loads(pickle.dumps(source.pieces(context)))
    rows = [row for piece in pieces for batch in piece.read() for row in batch.to_pylist()]
    assert [without_nulls(row)["messages"] for row in rows] == MESSAGES


def test_a_plan_names_the_line_of_a_row_of_another_layout(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", [*SHAREGPT, {"title": "t"}], format="sharegpt")
    with pytest.raises(DataError, match=rf"a\.jsonl:{len(SHAREGPT) + 1}: .*not of the format sharegpt"):
        source.file_schema()


@pytest.mark.parametrize("content", [5, 1.5, True, {"text": "q"}])
def test_a_turn_whose_content_is_no_text_fails_its_row(content: object, tmp_path: Path) -> None:
    good = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [
        {"messages": [{"role": "user", "content": content}, good[1]], "n": 0},
        {"messages": good, "n": 1},
        {"conversations": [{"from": "human", "value": content}, {"from": "gpt", "value": "a"}], "n": 2},
        {"messages": None, "n": 3},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = Jsonl(path=[str(tmp_path / "rows.jsonl")])
    pieces = source.pieces(None)  # type: ignore[arg-type]
    assert pieces is not None
    batches = [batch for piece in pieces for batch in piece.read()]
    made = pa.Table.from_batches(batches).to_pylist()
    assert [row["n"] for row in made] == [0, 1, 2, 3]
    assert [row["messages"] for row in made] == [None, good, None, None]
    reasons = [row[FAILURE] for row in made]
    assert reasons[1] is reasons[3] is None
    assert f"turn 1 (user) has {content!r} as its content: write a text in quotes" in reasons[0]
    assert reasons[2] is not None
    schema = source.file_schema()
    assert schema is not None
    assert FAILURE not in schema.names  # it is no column of the rows
