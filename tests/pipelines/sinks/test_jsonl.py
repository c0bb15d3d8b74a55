"""JSON Lines export: reading it back gives the same rows, compressed or not,
with the same bytes each time.
"""

from __future__ import annotations

import datetime
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sinks import JsonlExport
from gristmill.pipelines.sources import Jsonl


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz", "set.jsonl.zst", "folder"])
def test_what_is_written_is_read_back(tmp_path: Path, context: Any, name: str) -> None:
    table = pa.table({"text": ['ä\n\u2028"x"', None], "tags": [["a"], []], "n": [1, 2]})
    path = tmp_path / name
    JsonlExport(path=str(path)).write(table, context, tmp_path)
    file = path / "data.jsonl" if name == "folder" else path
    first = file.read_bytes()
    JsonlExport(path=str(path)).write(table, context, tmp_path)
    assert file.read_bytes() == first
    read = pa.Table.from_batches(list(Jsonl(path=str(file)).read(context)))
    assert read.to_pylist() == table.to_pylist()


def test_dates_are_text_and_nan_is_null(tmp_path: Path, context: Any) -> None:
    table = pa.table({"day": [datetime.date(2026, 1, 2)], "x": [float("nan")], "xs": [[float("inf"), 1.0]]})
    JsonlExport().write(table, context, tmp_path)
    assert json.loads((tmp_path / "data.jsonl").read_text()) == {
        "day": "2026-01-02",
        "x": None,
        "xs": [None, 1.0],
    }


def test_bytes_are_refused_with_the_way_out(tmp_path: Path, context: Any) -> None:
    with pytest.raises(
        DataError, match=r"column 'b' holds a value of type bytes, which has no JSON form.*drop"
    ):
        JsonlExport().write(pa.table({"b": [b"x"]}), context, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_value_that_json_lacks_is_told_with_row_and_column(tmp_path: Path, context: Any) -> None:
    rows = 5000  # of several batches
    table = pa.table({"n": range(rows), "price": [None] * (rows - 2) + [timedelta(1), timedelta(2)]})
    with pytest.raises(
        DataError, match=r"^row 4,999: column 'price' holds a value of type timedelta, which has no"
    ):
        JsonlExport().write(table, context, tmp_path / "out")
    nested = pa.table({"a": [1], "b": [[{"c": b"x"}]]})
    with pytest.raises(DataError, match=r"^row 1: column 'b' holds a value of type bytes"):
        JsonlExport().write(nested, context, tmp_path / "out")


def test_decimals_that_sql_makes_are_numbers(tmp_path: Path, context: Any) -> None:
    """``0.5 * n`` and ``sum(n)`` are decimals in SQL: what is read back is the same number."""
    numbers = duckdb.sql("SELECT 0.5 * n AS half, sum(n) OVER () AS all_n, 2.0 AS two FROM range(3) AS t(n)")
    table = numbers.to_arrow_table()
    assert [pa.types.is_decimal(kind) for kind in table.schema.types] == [True, True, True]
    JsonlExport().write(table, context, tmp_path / "out")
    lines = (tmp_path / "out" / "data.jsonl").read_text().splitlines()
    assert lines[1] == '{"half": 0.5, "all_n": 3, "two": 2.0}'
    exact = pa.table({"n": [Decimal("0." + "1" * 20)]})
    with pytest.raises(
        DataError, match=r"row 1: column 'n' holds a value of type decimal, of more digits than"
    ):
        JsonlExport().write(exact, context, tmp_path / "out")


def test_a_whole_number_beyond_64_bits_is_told_as_such(tmp_path: Path, context: Any) -> None:
    large = pa.table({"n": [Decimal(2**63)]})
    with pytest.raises(DataError, match="of type decimal, a whole number beyond 64 bits"):
        JsonlExport().write(large, context, tmp_path / "out")


def test_a_map_is_an_object(tmp_path: Path, context: Any) -> None:
    kind = pa.map_(pa.string(), pa.int64())
    table = pa.table(
        {"m": pa.array([[("k", 1)], None], kind), "in": pa.array([[[("k", 1)]], []], pa.list_(kind))}
    )
    JsonlExport().write(table, context, tmp_path / "out")
    read = [json.loads(line) for line in (tmp_path / "out" / "data.jsonl").read_text().splitlines()]
    assert read == [{"m": {"k": 1}, "in": [{"k": 1}]}, {"m": None, "in": []}]
    doubled = pa.table({"m": pa.array([[("k", 1), ("k", 2)]], kind)})
    with pytest.raises(DataError, match=r"a map has one key twice .* leave its column out with `drop`"):
        JsonlExport().write(doubled, context, tmp_path / "out")


def test_a_url_is_written(tmp_path: Path, context: Any) -> None:
    JsonlExport(path="memory://exports/set.jsonl").write(pa.table({"n": [1]}), context, tmp_path)
    with fsspec.open("memory://exports/set.jsonl", "rb") as stream:
        assert stream.read() == b'{"n": 1}\n'


def test_calls_are_lines_of_openai_s_form(tmp_path: Path, context: Any) -> None:
    """Turns have only the keys that they fill; tools and the arguments of calls are objects."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    called = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "12", "tool_call_id": "c"},
        {"role": "assistant", "content": "a"},
    ]
    plain = [called[0], called[3]]
    table = pa.table(
        {
            "_id": ["1", "2"],
            "messages": [json.dumps(plain), json.dumps(called)],
            "tools": [None, '[{"name": "f"}]'],
        }
    )
    target = tmp_path / "chat.jsonl"
    JsonlExport(path=str(target), format="messages").write(table, context, tmp_path / "default")
    call["function"]["arguments"] = {}  # type: ignore[index]
    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        {"id": "1", "messages": plain},
        {"id": "2", "messages": called, "tools": [{"name": "f"}]},
    ]
