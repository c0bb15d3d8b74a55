"""Choosing columns and formats before anything is written."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.pipelines.sinks import ArrowExport, JsonlExport, ParquetExport
from gristmill.pipelines.sinks.export import Export


def rows(count: int = 3) -> pa.Table:
    return pa.table(
        {
            "_id": [f"r{i}" for i in range(count)],
            "_parents": [["p"]] * count,
            "prompt": [f"q{i}" for i in range(count)],
            "response": [f"a{i}" for i in range(count)],
            "logprobs": [[-0.5]] * count,
            "score": [0.1] * count,
        }
    )


def prepared(export: ParquetExport, table: pa.Table) -> pa.Table:
    """What is written of the table."""
    stored = TableRows(table)
    return pa.concat_tables(list(export.layout(stored).tables(stored)))


def test_rows_keep_their_columns_but_not_the_heavy_ones() -> None:
    assert prepared(ParquetExport(), rows()).column_names == ["id", "prompt", "response", "score"]
    assert prepared(ParquetExport(drop=()), rows()).column_names[-2:] == ["logprobs", "score"]
    assert prepared(ParquetExport(columns=("logprobs", "score")), rows()).column_names == [
        "id",
        "logprobs",
        "score",
    ]
    assert prepared(ParquetExport(drop=("prompt",)), rows()).column_names == [
        "id",
        "response",
        "logprobs",
        "score",
    ]


def test_a_format_has_its_own_columns_and_those_asked_for() -> None:
    table = prepared(ParquetExport(format="messages", columns=("score",)), rows())
    assert table.column_names == ["id", "messages", "score"]
    assert table["messages"][1].as_py() == [
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "a1"},
    ]
    assert prepared(ParquetExport(format="prompt_completion"), rows()).column_names == [
        "id",
        "prompt",
        "completion",
    ]


def test_a_system_prompt_in_one_row_makes_the_column() -> None:
    table = rows().append_column("system", pa.array([None, "Be brief.", None]))
    ready = prepared(ParquetExport(format="alpaca"), table)
    assert ready["system"].to_pylist() == [None, "Be brief.", None]


def test_a_row_s_own_id_is_kept() -> None:
    table = rows().append_column("id", pa.array(["x", "y", "z"]))
    ready = prepared(ParquetExport(columns=("id",)), table)
    assert ready.to_pydict() == {"row_id": ["r0", "r1", "r2"], "id": ["x", "y", "z"]}
    both = table.append_column("row_id", pa.array(["u", "v", "w"]))
    ready = prepared(ParquetExport(columns=("id", "row_id")), both)
    assert ready.column_names == ["row_id_2", "id", "row_id"]
    assert ready["row_id_2"].to_pylist() == ["r0", "r1", "r2"]


def test_no_rows_still_have_their_schema() -> None:
    ready = prepared(ParquetExport(format="sharegpt"), rows(0))
    assert ready.num_rows == 0
    assert ready.column_names == ["id", "conversations"]


def test_no_rows_at_all_are_an_empty_file_and_no_mistake() -> None:
    """A step without input rows does not know the columns that it would have added."""
    nothing = pa.table({"_id": pa.array([], pa.string())})
    assert prepared(ParquetExport(columns=("a", "b"), drop=("b",)), nothing).column_names == ["id", "a"]
    told = prepared(ParquetExport(format="messages", columns=("a",)), nothing)
    assert (told.column_names, told.num_rows) == (["id", "messages", "a"], 0)


def test_wrong_columns_are_named() -> None:
    with pytest.raises(DataError, match="no column 'scoer'; there are prompt"):
        prepared(ParquetExport(columns=("scoer",)), rows())
    with pytest.raises(DataError, match="'prompt' is already part of the format"):
        prepared(ParquetExport(format="prompt_completion", columns=("prompt",)), rows())


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 20), max_size=4))
def test_how_the_rows_were_split_does_not_show(cuts: list[int]) -> None:
    table = rows(20)
    edges = sorted({0, 20, *cuts})
    split = pa.concat_tables([table.slice(a, b - a) for a, b in itertools.pairwise(edges)])
    for form in ("rows", "messages"):
        ready = prepared(ParquetExport(format=form), split)
        assert ready == prepared(ParquetExport(format=form), table)
        assert all(column.num_chunks <= 1 for column in ready.columns)


def test_turns_have_the_keys_that_some_row_has() -> None:
    """A key or the tools of one late row are part of the schema of all pieces."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]] * 3
    turns[2] = [
        {"role": "user", "content": "q", "weight": 0.5},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    turns[1] = [turns[0][0] | {"weight": 1}, turns[0][1]]
    table = pa.table(
        {
            "_id": ["a", "b", "c"],
            "messages": [json.dumps(each) for each in turns],
            "tools": [None, "", '[{"name": "f"}]'],
        }
    )
    ready = prepared(ParquetExport(format="messages"), table)
    assert ready.column_names == ["id", "messages", "tools"]
    assert ready["tools"].to_pylist() == [None, None, '[{"name": "f"}]']
    kind = ready.schema.field("messages").type.value_type
    assert {field.name: str(field.type) for field in kind}.keys() == {
        "role", "content", "weight", "tool_calls",
    }  # fmt: skip
    kept = [[{key: value for key, value in turn.items() if value is not None} for turn in row]
            for row in ready["messages"].to_pylist()]  # fmt: skip
    assert kept[:2] == [turns[0], turns[1]]
    assert kept[2][1] == {"role": "assistant", "tool_calls": [call]}
    asked = prepared(ParquetExport(format="messages", columns=("tools",)), table)
    assert asked["tools"].to_pylist() == [None, "", '[{"name": "f"}]']


def test_keys_of_different_types_are_refused() -> None:
    turns = [
        [{"role": "user", "content": "q", "mark": mark}, {"role": "assistant", "content": "a"}]
        for mark in (1, "x")
    ]
    table = pa.table({"_id": ["a", "b"], "messages": [json.dumps(each) for each in turns]})
    with pytest.raises(
        DataError, match="row b: a turn has 'mark' of type string, and one before it of type int64"
    ):
        prepared(ParquetExport(format="messages"), table)


@pytest.mark.parametrize(
    ("export", "path", "fix"),
    [
        (JsonlExport, "out/train.json", r"\.jsonl or \.jsonl\.gz or \.jsonl\.zst, .*: change its ending"),
        (JsonlExport, "s3://bucket/train.csv", "change its ending, or name a folder"),
        (JsonlExport, "train.parquet", "change its ending"),
        (ParquetExport, "train.jsonl", r"file that ends with \.parquet, and would make a f"),
        (ParquetExport, "train.parquet.gz", "change its ending"),
        (ArrowExport, "train.arrow", "writes a folder, and would make a .*: leave out its ending"),
        (JsonlExport, "", "found an empty path: name a file or a folder, or leave `path` out"),
        (ArrowExport, " ", "found an empty path"),
    ],
)  # fmt: skip
def test_a_path_that_names_another_kind_of_file_makes_no_folder(
    export: type[Export], path: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=fix) as refused:
        export(path=path).inspect()
    assert refused.value.place == ("path",)
    if path.strip() and "://" not in path:
        Path(path).mkdir(parents=True)  # a folder that somebody named so
        export(path=path).inspect()
    for fine in ("train.jsonl.gz", "data.v2", "out.jsonl/set", "../beside"):
        JsonlExport(path=fine).inspect()


@pytest.mark.parametrize("export", [JsonlExport, ParquetExport, ArrowExport])
def test_a_tilde_is_the_home_directory(
    export: type[Export], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    written = export(path="~/made").write(rows(), context, tmp_path / "unused")
    assert Path(written.location) == tmp_path / "home" / "made"
    assert export(path="~/made").target() in (
        tmp_path / "home" / "made",
        tmp_path / "home" / "made" / written.files[0],
    )
    assert [each.name for each in tmp_path.iterdir()] == ["home"]
