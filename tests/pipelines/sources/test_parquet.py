"""Parquet: several files under one schema, a limit, a truncated file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources import Parquet


def read(source: Parquet, context: Any) -> pa.Table:
    return pa.Table.from_batches(list(source.read(context)))


def test_files_share_one_schema(tmp_path: Path, context: Any) -> None:
    pq.write_table(pa.table({"n": pa.array([1, 2], pa.int32()), "a": ["x", "y"]}), tmp_path / "a.parquet")
    coded = pa.array(["p", "q"]).dictionary_encode()
    pq.write_table(pa.table({"b": coded, "n": pa.array([3, 4], pa.int64())}), tmp_path / "b.parquet")
    table = read(Parquet(path=str(tmp_path)), context)
    assert table.schema == pa.schema([("n", pa.int64()), ("a", pa.string()), ("b", pa.string())])
    assert table.to_pydict() == {"n": [1, 2, 3, 4], "a": ["x", "y", None, None], "b": [None, None, "p", "q"]}
    assert Parquet(path=str(tmp_path), rows=3).estimate(0).rows == 3


def test_a_limit_and_columns_are_honored_across_batches(tmp_path: Path, context: Any) -> None:
    pq.write_table(pa.table({"n": range(150_000), "m": range(150_000)}), tmp_path / "a.parquet")
    source = Parquet(path=str(tmp_path / "a.parquet"), rows=100_001, columns=("k",), rename={"m": "k"})
    table = read(source, context)
    assert table.schema.names == ["k"]
    assert table["k"].to_pylist() == list(range(100_001))


def test_types_without_a_common_one_are_named(tmp_path: Path, context: Any) -> None:
    pq.write_table(pa.table({"n": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": ["1"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet.*'n' is string here and int64"):
        read(Parquet(path=str(tmp_path)), context)


def test_a_truncated_file_is_named(tmp_path: Path, context: Any) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": range(1000)}), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"a\.parquet: not a Parquet file, or a damaged one"):
        read(Parquet(path=str(path)), context)


def test_a_url_is_read(tmp_path: Path, context: Any) -> None:
    with fsspec.open("memory://made/a.parquet", "wb") as stream:
        pq.write_table(pa.table({"n": [1, 2]}), stream)
    assert read(Parquet(path="memory://made/*.parquet"), context)["n"].to_pylist() == [1, 2]


def test_an_empty_list_of_paths_has_no_rows(context: Any) -> None:
    assert list(Parquet(path=()).read(context)) == []
