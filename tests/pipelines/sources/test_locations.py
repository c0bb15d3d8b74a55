"""Paths: an existing path is taken literally before it is read as a glob."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gristmill
from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources import HuggingFaceDataset, Jsonl, Parquet

ODD = ["data [v2]", "what?", "a*b", "[x]", "[!a]", "tab\tand space", "{1,2}", "ä"]


@pytest.fixture(params=ODD)
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    made = tmp_path / str(request.param)
    made.mkdir()
    return made


def numbers(source: Jsonl | Parquet | HuggingFaceDataset, context: Any) -> list[int]:
    return pa.Table.from_batches(list(source.read(context)))["n"].to_pylist()


def test_a_file_in_a_folder_with_signs_of_a_glob_is_found(folder: Path, context: Any) -> None:
    (folder / "rows.jsonl").write_text('{"n": 1}\n')
    pq.write_table(pa.table({"n": [2]}), folder / "rows.parquet")
    with pa.ipc.new_file(str(folder / "rows.arrow"), pa.schema([("n", pa.int64())])) as out:
        out.write_table(pa.table({"n": [3]}))
    assert numbers(Jsonl(path=str(folder / "rows.jsonl")), context) == [1]
    assert numbers(Parquet(path=str(folder / "rows.parquet")), context) == [2]
    assert numbers(HuggingFaceDataset(path=str(folder / "rows.arrow")), context) == [3]
    # The folder, and a glob within it.
    assert numbers(Jsonl(path=str(folder)), context) == [1]
    assert numbers(Jsonl(path=f"{folder}/*.jsonl"), context) == [1]
    assert numbers(Jsonl(path=f"{folder}/r?ws.jsonl"), context) == [1]


@pytest.mark.parametrize("name", ["rows [1].jsonl", "rows?.jsonl", "rows*.jsonl"])
def test_a_file_whose_name_has_signs_of_a_glob_is_found_and_no_other(
    tmp_path: Path, context: Any, name: str
) -> None:
    (tmp_path / name).write_text('{"n": 1}\n')
    (tmp_path / "rows1.jsonl").write_text('{"n": 2}\n')
    source = Jsonl(path=str(tmp_path / name))
    assert numbers(source, context) == [1]
    assert list(source.content()) == [str(tmp_path / name)]


def test_where_nothing_is_called_so_it_is_a_glob(tmp_path: Path, context: Any) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"rows{number}.jsonl").write_text(f'{{"n": {number}}}\n')
    assert numbers(Jsonl(path=str(tmp_path / "rows[12].jsonl")), context) == [1, 2]
    assert numbers(Jsonl(path=str(tmp_path / "*.jsonl")), context) == [1, 2, 3]
    with pytest.raises(DataError, match=r"rows\[45\]\.jsonl: no such file"):
        Jsonl(path=str(tmp_path / "rows[45].jsonl")).files()


def test_a_url_with_signs_of_a_glob_is_found(context: Any) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/odd [v2]/a.jsonl", b'{"n": 1}\n')
    assert numbers(Jsonl(path="memory://odd [v2]/a.jsonl"), context) == [1]
    assert numbers(Jsonl(path="memory://odd [v2]/*.jsonl"), context) == [1]


def test_a_pipeline_reads_from_and_writes_to_such_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data [v2]").mkdir()
    Path("data [v2]/rows.jsonl").write_text('{"n": 1}\n')
    exports = {"jsonl": "out [v3]/a?.jsonl", "parquet": "out [v3]/a*.parquet", "arrow": "out [v3]/set [1]"}
    lines = [f"  {kind}: {{export: {kind}, from: rows, path: '{path}'}}" for kind, path in exports.items()]
    Path("t.yaml").write_text(
        "gristmill: 1\nname: odd\nsteps:\n  rows: {source: jsonl, path: 'data [v2]/rows.jsonl'}\n"
        + "\n".join(lines)
    )
    gristmill.run("t.yaml", "run")
    Path("back.yaml").write_text(
        "gristmill: 1\nname: back\nsteps:\n"
        f"  a: {{source: jsonl, path: '{exports['jsonl']}', columns: [n]}}\n"
        f"  b: {{source: parquet, path: '{exports['parquet']}', columns: [n]}}\n"
        f"  c: {{source: dataset, path: '{exports['arrow']}', columns: [n]}}\n"
    )
    back = gristmill.run("back.yaml", "back")
    assert [back[step].to_arrow()["n"].to_pylist() for step in "abc"] == [[1], [1], [1]]
