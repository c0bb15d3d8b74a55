"""Parquet export: equal rows give equal bytes, and a failed write leaves the old file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sinks import ParquetExport
from gristmill.pipelines.sinks.placing import place_file


def rows(count: int = 1000) -> pa.Table:
    return pa.table({"_id": [f"r{i}" for i in range(count)], "prompt": [f"q{i % 7}" for i in range(count)]})


def test_writing_twice_leaves_the_same_bytes(tmp_path: Path, context: Any) -> None:
    written = ParquetExport().write(rows(), context, tmp_path / "out")
    assert (written.rows, list(written.files)) == (1000, ["data.parquet"])
    first = (tmp_path / "out/data.parquet").read_bytes()
    halves = pa.concat_tables([rows().slice(0, 333), rows().slice(333)])
    ParquetExport().write(halves, context, tmp_path / "out")
    assert (tmp_path / "out/data.parquet").read_bytes() == first
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["data.parquet"]
    assert pq.read_table(tmp_path / "out/data.parquet")["prompt"].to_pylist() == rows()["prompt"].to_pylist()


@pytest.mark.parametrize(
    ("path", "file"), [("x/set.parquet", "x/set.parquet"), ("x/set", "x/set/data.parquet")]
)
def test_a_path_is_a_file_or_a_folder(
    tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch, path: str, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ParquetExport(path=path).write(rows(), context, tmp_path / "unused")
    assert pq.read_metadata(tmp_path / file).num_rows == 1000
    assert not (tmp_path / "unused").exists()


def test_a_url_is_written(tmp_path: Path, context: Any) -> None:
    written = ParquetExport(path="memory://exports/set.parquet").write(rows(), context, tmp_path)
    assert (written.location, list(written.files)) == ("memory://exports", ["set.parquet"])
    with fsspec.open("memory://exports/set.parquet", "rb") as stream:
        assert pq.read_table(stream).num_rows == 1000


def test_a_write_that_fails_leaves_the_former_file(tmp_path: Path) -> None:
    place_file(None, tmp_path, ".txt", 1, lambda path: path.write_text("whole") and None)

    def broken(path: Path) -> None:
        path.write_text("ha")
        raise OSError("No space left on device")

    with pytest.raises(DataError, match="cannot be written: No space left"):
        place_file(None, tmp_path, ".txt", 1, broken)
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"data.txt": "whole"}
