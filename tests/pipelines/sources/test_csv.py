"""CSV and TSV: typed rows, and a line that cannot be read is one failed row with its place."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.contracts.notices import listening
from gristmill.contracts.operators import FAILURE
from gristmill.pipelines.sources import Csv
from gristmill.pipelines.sources.csv_types import kind_of
from gristmill.pipelines.sources.file_kinds import source_of


def read(path: Path, data: bytes | str, context: Any, **options: Any) -> pa.Table:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    source = Csv(path=str(path), **options)
    table = pa.Table.from_batches(list(source.read(context)))
    planned = source.makes_columns(())
    assert planned == [name for name in table.column_names if name != FAILURE]
    for name, kind in source.makes_types({}).items():
        assert table.schema.field(name).type == kind
    return table


def failures(table: pa.Table) -> list[str | None]:
    return [None if text is None else text.rpartition("/")[2] for text in table[FAILURE].to_pylist()]


def test_rows_have_the_types_of_their_fields(tmp_path: Path, context: Any) -> None:
    text = "n,x,ok,code,big,mixed,none\n1,1,true,007,9007199254740993,1,\n-2,2.5,False,12,3,x,\n,,,,,,\n"
    table = read(tmp_path / "a.csv", text, context)
    assert [str(kind) for kind in table.schema.types] == [
        "int64", "double", "bool", "string", "int64", "string", "string",
    ]  # fmt: skip
    assert table.to_pylist()[0] == {
        "n": 1, "x": 1.0, "ok": True, "code": "007", "big": 9007199254740993, "mixed": "1", "none": None,
    }  # fmt: skip
    assert set(table.to_pylist()[2].values()) == {None}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0", "int"), ("-0", "text"), ("007", "text"), ("+49", "text"), ("1_000", "text"), ("1,000", "text"),
        ("١", "text"), ("1e5", "text"), ("12E5", "text"), ("1e+999", "text"), ("nan", "text"),
        ("0.1234567890123456789", "text"), ("12345678901234567890", "text"), ("TRUE", "bool"),
        ("1.5e3", "float"), ("1e-05", "float"), ("1E+16", "float"), ("1.50", "float"), ("1.0e999", "text"),
        ("yes", "text"), (" 1 ", "int"), (" ", "empty"), ("n/a", "text"), ("", "empty"),
    ],
)  # fmt: skip
def test_a_type_holds_the_value_of_the_text(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_codes_are_texts_and_versions_can_be(tmp_path: Path, context: Any) -> None:
    text = "code,version,price\n12e5,3.10,1.50\n1200000,3.1,2\n"
    table = read(tmp_path / "a.csv", text, context)
    assert table["code"].to_pylist() == ["12e5", "1200000"]
    assert table["version"].to_pylist() == [3.1, 3.1]
    assert table["price"].to_pylist() == [1.5, 2.0]
    kept = read(tmp_path / "a.csv", text, context, types={"version": "text", "code": "float"})
    assert kept["version"].to_pylist() == ["3.10", "3.1"]
    assert kept["code"].to_pylist() == [1.2e6, 1.2e6]


def test_types_may_be_given_and_a_value_of_another_is_a_failed_row(tmp_path: Path, context: Any) -> None:
    table = read(tmp_path / "a.csv", "a,b\n1,1\n2,x\n3,\n", context, types={"a": "text", "b": "int"})
    assert table["a"].to_pylist() == ["1", None, "3"]
    assert table["b"].to_pylist() == [1, None, None]
    assert failures(table) == [None, "a.csv:3: column 'b': 'x' is not a whole number of 64 bits", None]
    with pytest.raises(DataError, match="types: no column 'c'; there are a, b"):
        read(tmp_path / "a.csv", "a,b\n1,2\n", context, types={"c": "int"})


def test_a_line_that_cannot_be_read_fails_alone(tmp_path: Path, context: Any) -> None:
    lines = [
        b"a,b", b"1,x", b"1,2,3", b"x", b'"open,2', b"5,y", b'"a"b,3', b"7,\xff",
        b'8,"two', b'lines"', b"9,z",
    ]  # fmt: skip
    table = read(tmp_path / "a.csv", b"\n".join(lines), context)
    told = failures(table)
    assert [text.partition(": ")[0] if text else None for text in told] == [
        None, "a.csv:3", "a.csv:4", "a.csv:5", None, "a.csv:7", "a.csv:8", None, None,
    ]  # fmt: skip
    assert told[1:3] == [
        "a.csv:3: 3 fields, where the header has 2",
        "a.csv:4: 1 field, where the header has 2",
    ]
    assert "not utf-8: give its `encoding:`, such as `cp1252`" in str(told[6])
    assert table["a"].to_pylist() == [1, None, None, None, 5, None, None, 8, 9]
    assert table["b"].to_pylist()[-2:] == ["two\nlines", "z"]


def test_a_file_of_another_encoding_is_told_by_its_bytes(tmp_path: Path, context: Any) -> None:
    table = read(tmp_path / "a.csv", b"a,b\nGr\xfc\xdfe,1\nx,2\n", context)
    assert str(failures(table)[0]).endswith(r": b'Gr\xfc\xdfe,1'")
    wanted = r"a\.csv:1: cannot be read as utf-16: change or leave out `encoding:`"
    with pytest.raises(DataError, match=wanted):
        read(tmp_path / "a.csv", b"a,b\n1,2\n", context, encoding="utf-16")
    assert read(tmp_path / "a.csv", "a,b\n 1 , \n2 ,x\n", context).to_pylist() == [
        {"a": 1, "b": " "}, {"a": 2, "b": "x"},
    ]  # fmt: skip


def test_a_file_without_rows_is_told(tmp_path: Path, context: Any) -> None:
    said: list[str] = []
    with listening(said.append):
        for name, text in (("a.csv", ""), ("b.csv", "a,b\n"), ("c.csv", "a\n1\n")):
            (tmp_path / name).write_text(text)
            Csv(path=str(tmp_path / name)).pieces(context)
    assert [text.rpartition("/")[2] for text in said] == ["a.csv has no rows", "b.csv has no rows"]


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path: Path, context: Any) -> None:
    table = read(tmp_path / "a.csv", 'a,b\n1,x\n"2,y\n3,z\n4,w\n', context)
    told = failures(table)[1] or ""
    assert told.startswith("a.csv:3: a quote opens here and is never closed: '\"2,y'")
    assert table["a"].to_pylist() == [1, None, 3, 4]


@pytest.mark.parametrize(
    ("data", "options", "first"),
    [
        (b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n', {}, {"a": 1, "b": "x\r\ny"}),
        ("a,b\n1,é\n".encode("utf-16"), {}, {"a": 1, "b": "é"}),
        ("a,b\n1,é\n".encode("cp1252"), {"encoding": "cp1252"}, {"a": 1, "b": "é"}),
        (b"a,b\r1,x\r", {}, {"a": 1, "b": "x"}),
        ("a,b\n1,x\u2028y\x0bz\n".encode(), {}, {"a": 1, "b": "x\u2028y\x0bz"}),
        (b"a;b\n1;x,y\n", {"delimiter": ";"}, {"a": 1, "b": "x,y"}),
        (b"a,b\n1,'x,y'\n", {"quote": "'"}, {"a": 1, "b": "x,y"}),
        (b'a,b\n1,"x\n', {"quote": None}, {"a": 1, "b": '"x'}),
        (b"1,x\n", {"names": ["a", "b"]}, {"a": 1, "b": "x"}),
        (b",b\n1,x\n", {}, {"column_1": 1, "b": "x"}),
        (b"a,b\n1," + b"x" * 300_000, {}, {"a": 1, "b": "x" * 300_000}),
        (b"prompt,response\n1,2\n", {}, {"prompt": "1", "response": "2"}),
    ],
)
def test_files_as_other_tools_write_them(
    data: bytes, options: dict[str, Any], first: dict[str, Any], tmp_path: Path, context: Any
) -> None:
    assert read(tmp_path / "a.csv", data, context, **options).to_pylist() == [first]


def test_tabs_compression_and_folders(tmp_path: Path, context: Any) -> None:
    assert read(tmp_path / "a.tsv", "a\tb\n1\tx,y\n", context).to_pylist() == [{"a": 1, "b": "x,y"}]
    packed = read(tmp_path / "b.csv.gz", gzip.compress(b"a,c\n2.5,z\n"), context)
    assert packed.to_pylist() == [{"a": 2.5, "c": "z"}]
    both = pa.Table.from_batches(list(Csv(path=str(tmp_path)).read(context)))
    assert both.to_pylist() == [{"a": 1.0, "b": "x,y", "c": None}, {"a": 2.5, "b": None, "c": "z"}]
    assert source_of(str(tmp_path)) == source_of("x.tsv.zst") == "csv"
    with pytest.raises(DataError, match=r"b\.csv\.gz:3: cannot be read further: .*; is it complete\?"):
        read(tmp_path / "b.csv.gz", gzip.compress(b"a\n1\n")[:-9], context)


def test_layouts_are_read(tmp_path: Path, context: Any) -> None:
    alpaca = read(tmp_path / "a.csv", "instruction,input,output\nadd,1 2,3\nsay,,4\n", context)
    assert alpaca.select(["prompt", "response"]).to_pylist() == [
        {"prompt": "add\n\n1 2", "response": "3"}, {"prompt": "say", "response": "4"},
    ]  # fmt: skip
    turns = '"[{""role"": ""user"", ""content"": ""q""}]"'
    assert read(tmp_path / "b.csv", f"messages,n\n{turns},1\n", context).to_pylist() == [
        {"messages": [{"role": "user", "content": "q"}], "n": 1}
    ]


def test_files_without_rows_keep_their_columns(tmp_path: Path, context: Any) -> None:
    assert read(tmp_path / "a.csv", "a,b\n", context).column_names == ["a", "b"]
    (tmp_path / "b.csv").write_text("")
    assert list(Csv(path=str(tmp_path / "b.csv")).read(context)) == []
    assert read(tmp_path / "c.csv", "a,b\n1\n2\n", context).num_rows == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a;b\n1;2\n", r"a\.csv:1: the header is one column, 'a;b': .* `delimiter: ';'`"),
        ("a,a\n1,2\n", r"two columns of the header are called 'a': .* `names: \[\.\.\.\]`"),
        ('"a,b\n1,2\n', r"a\.csv:1: the header cannot be read: a quote opens here"),
        ("a,_b\n1,2\n", "names that start with '_' are reserved"),
    ],
)
def test_a_header_that_names_no_columns_is_refused(
    text: str, said: str, tmp_path: Path, context: Any
) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path / "a.csv", text, context)


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "utf8x"},
        {"encoding": "zip"},
        {"delimiter": "\n"},
        {"names": ["a", "a"]},
        {"quote": ","},
        {"quote": ";", "delimiter": ";"},
    ],
)
def test_wrong_parameters_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Csv(path="a.csv", **options)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=2, max_size=2), max_size=6
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_texts_come_back_as_they_were_written(
    rows: list[list[str]], delimiter: str, tmp_path: Path, context: Any
) -> None:
    import csv

    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    source = Csv(path=str(tmp_path / "a.csv"), delimiter=delimiter, types={"a": "text", "b": "text"})
    table = pa.Table.from_batches(list(source.read(context)))
    assert [[each["a"] or "", each["b"] or ""] for each in table.to_pylist()] == rows
