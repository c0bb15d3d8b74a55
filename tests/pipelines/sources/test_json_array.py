"""A file that holds one array of objects gives the rows of the same objects, one per line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources import json_array
from gristmill.pipelines.sources.file_kinds import source_of
from gristmill.pipelines.sources.jsonl import Jsonl

ROWS = [{"q": 'a [\n] "}" , {', "n": [1, {"x": "é"}]}, {"q": "b", "n": None}, {"q": "", "n": [2.5]}]


def read(path: Path, context: Any) -> list[dict[str, Any]]:
    return [row for batch in Jsonl(path=str(path)).read(context) for row in batch.to_pylist()]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_an_array_gives_the_rows_of_its_lines(
    indent: int | None, packed: bool, tmp_path: Path, context: Any
) -> None:
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in ROWS))
    array = tmp_path / ("rows.json.gz" if packed else "rows.json")
    text = ("\ufeff\n " + json.dumps(ROWS, indent=indent, ensure_ascii=False)).encode()
    array.write_bytes(gzip.compress(text) if packed else text)
    assert read(array, context) == read(lines, context)
    source = Jsonl(path=str(array))
    assert source.count_rows() == 3
    assert source.file_schema().names == ["q", "n"]
    assert source_of(str(array)) == "jsonl"


def test_lines_and_nothing_are_read_as_they_are(tmp_path: Path, context: Any) -> None:
    path = tmp_path / "rows.json"
    path.write_text('\n{"q": 1}\n\n{"q": 2}\n')
    assert read(path, context) == [{"q": 1}, {"q": 2}]
    for nothing in ("", "  \n", "[]", "[ ]\n"):
        path.write_text(nothing)
        assert read(path, context) == []


@settings(max_examples=30)
@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=40), min_size=1), max_size=8),
    st.integers(1, 7),
)
def test_it_does_not_matter_where_chunks_end(rows: list[dict[str, str]], chunk: int) -> None:
    import io

    text = json.dumps(rows, ensure_ascii=False, indent=1).encode("utf-8", "replace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "_CHUNK", chunk)
        made = json_array.as_lines(io.BytesIO(text), "rows.json").read()
    assert [json.loads(line) for line in made.splitlines()] == json.loads(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"q": 1}, {"q": 2}', "element 3 of the array: a comma or the end of the array is missing"),
        ('[{"q": 1} {"q": 2}]', "element 2 of the array: a comma or the end of the array is missing"),
        ('[{"q": 1}, {"q": ]', r"element 2 of the array: not JSON \(Expecting value"),
        ('[{"q": 1},]', "element 2 of the array: not JSON"),
        ('[{"q": 1}] x', "there is more after the end of the array"),
        ("[" * 100_000, "element 1 of the array: nested too deeply"),
        ('[{"q": 1}, 3]', r"rows\.json:2: a row is a JSON object, found '3'"),
        ('[{"q": 1}, {"q": NaN}]', r"rows\.json:2: not JSON \(NaN is not a JSON value"),
    ],
)
def test_a_broken_array_is_one_clear_error(text: str, said: str, tmp_path: Path, context: Any) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read(path, context)


def test_an_array_that_is_not_utf_8_says_so(tmp_path: Path, context: Any) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"q": 1}, {"q": "\xff"}]')
    with pytest.raises(DataError, match="not UTF-8"):
        read(path, context)


TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_objects_over_several_lines_are_rows(
    indent: int | None, count: int, mark: str, tmp_path: Path, context: Any
) -> None:
    """A single object is a row, as is each of several: what ``json.dump(..., indent=2)`` and ``jq`` write."""
    path = tmp_path / "rows.json"
    row = {"q": 'a } , { "', "messages": TURNS, "tools": [{"x": 1}, {"y": 2}]}
    path.write_text(mark + "\r\n".join([json.dumps(row, indent=indent)] * count), encoding="utf-8")
    made = read(path, context)
    assert [(each["q"], each["messages"]) for each in made] == [(row["q"], TURNS)] * count
    assert Jsonl(path=str(path)).file_schema().names == ["q", "messages", "tools"]
    assert Jsonl(path=str(path)).count_rows() == count - (indent is None)  # line breaks are counted


TABLES: list[tuple[Any, str]] = [
    ({"data": ROWS}, r"a list of 3 objects in 'data': .*\(as `jq '\.data'` does\)"),
    ({"mine": ROWS}, "a list of 3 objects in 'mine'"),
    ({"version": "1.1", "data": ROWS[:1]}, "a list of 1 object in 'data'"),
    (
        {"q": ["a", "b"], "n": [1, 2]},
        "whose 2 values all have 2 parts: if these are columns, write one object",
    ),
    ({"q": {"0": "a", "1": "b"}, "n": {"0": 1, "1": 2}}, "whose 2 values all have 2 parts"),
]


@pytest.mark.parametrize(("table", "said"), TABLES)
@pytest.mark.parametrize("indent", [None, 1])
def test_an_object_that_holds_all_rows_is_not_read_as_one(
    table: Any, said: str, indent: int | None, tmp_path: Path, context: Any
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(table, indent=indent))
    for look in (lambda: read(path, context), Jsonl(path=str(path)).file_schema):
        with pytest.raises(DataError, match=rf"rows\.json: one object, .*{said}.*with `format: as_is`"):
            look()
    for asked in ({"format": "as_is"}, {"columns": tuple(table)}, {"as_json": tuple(table)}):
        [batch] = Jsonl(path=str(path), **asked).read(context)
        assert (batch.num_rows, batch.schema.names) == (1, list(table))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS},
        {"chosen": TURNS, "rejected": TURNS},
        {"q": "a", "found": [{"x": 1}, {"x": 2}]},
        {"q": ["a"], "n": [1, 2]},
        {"q": ["a", "b"], "n": 1},
        {"q": ["a", "b"]},
        {"q": {"x": 1, "y": 2}, "n": {"x": 1, "z": 2}},
    ],
)
def test_an_object_with_lists_of_its_own_is_a_row(row: dict[str, Any], tmp_path: Path, context: Any) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(row))
    assert len(read(path, context)) == 1
    path.write_text("\n".join([json.dumps({"data": ROWS})] * 2))
    assert len(read(path, context)) == 2  # two of them are no table


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"q": 1},]', r"line 1, element 2 of the array: .*: remove the comma$"),
        ('[\n {"q": 1,},\n {"q": 2}\n]', r"line 2, element 1 of .*found '\}.*remove the comma before '\}'"),
        ('[\n{"q": 1},\n{"q" 2},\n{"q": 3}]', r"line 3, element 2 of the array: not JSON \(.*, found '2\}"),
        ('[{"q": 1},\n{"q":', r"line 2, element 2 of the array: .*the file ends in it; is it complete\?"),
        ('{\n"q": 1,\n}', r"line 3, object 1: .*remove the comma before '\}'"),
        ('{\n"q": None\n}', r"line 2, object 1: .*found 'None'\); it is Python's notation"),
        ('{\n"q": 1\n},\n{"q": 2}', r"line 3, object 2: .*a comma between two objects\): write one"),
        ('{\n"q": 1,\n"q": 2\n}', r"rows\.json:1: the key 'q' occurs twice"),
        ('{\n"q": 1,\n"n":', r"line 3, object 1: .*is it complete"),
        ('{\n"q": "\udcff"}', r"line 1, object 1: not UTF-8"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_its_fix(
    text: str, said: str, tmp_path: Path, context: Any
) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=said):
        read(path, context)


def test_the_line_is_right_after_many_chunks(
    tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_array, "_CHUNK", 3)
    path = tmp_path / "rows.json"
    path.write_text("[\n" + '{"q":\n1},\n' * 20 + '{"q": nil}]')
    with pytest.raises(DataError, match=r"line 42, element 21 of the array: .*found 'nil}]'"):
        read(path, context)
