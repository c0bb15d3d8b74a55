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
