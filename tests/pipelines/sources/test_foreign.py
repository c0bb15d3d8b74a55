"""A file that is something else than its name says is told as that, before it is read as text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources.csv_files import Csv
from gristmill.pipelines.sources.jsonl import Jsonl

LINES = b'{"a": 1}\n{"a": 2}\n'


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("rows.jsonl", LINES)
    return made.getvalue()


def in_arrow(kind: str) -> bytes:
    import pyarrow.parquet as pq

    made, table = io.BytesIO(), pa.table({"a": [1]})
    if kind == "parquet":
        pq.write_table(table, made)
    else:
        with pa.ipc.new_file(made, table.schema) as out:
            out.write_table(table)
    return made.getvalue()


OTHERS: list[tuple[bytes, str]] = [
    (gzip.compress(LINES), r"it is compressed with gzip: let its name end with \.gz"),
    (pa.compress(LINES, "zstd", asbytes=True), r"it is compressed with zstd: let its name end with \.zst"),
    (bz2.compress(LINES), "it is compressed with bzip2: unpack it"),
    (lzma.compress(LINES), "it is compressed with xz: unpack it"),
    (zipped(), "it is a zip archive: unpack it"),
    (in_arrow("parquet"), "it is a Parquet file: read it with `source: parquet`"),
    (in_arrow("arrow"), "it is an Arrow file: read it with `source: dataset`"),
    (b"version https://git-lfs.github.com/spec/v1\n", "it is .*: fetch it with `git lfs pull`"),
    (b"\n<!DOCTYPE html>\n<html>", "it is a page of HTML"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "said"), OTHERS)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.jsonl.gz", "rows.csv"])
def test_another_kind_of_file_is_told_with_its_fix(
    content: bytes, said: str, name: str, tmp_path: Path, context: Any
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    source = (Csv if name.endswith(".csv") else Jsonl)(path=str(path))
    for look in (lambda: list(source.read(context)), source.file_schema):
        with pytest.raises(DataError, match=rf"{name}: not text: {said}"):
            look()


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize(
    "content", [LINES, b"x", gzip.compress(LINES), pa.compress(LINES, "zstd", asbytes=True)]
)
def test_content_that_is_not_compressed_as_the_name_says(
    ending: str, content: bytes, tmp_path: Path, context: Any
) -> None:
    path = tmp_path / f"rows.jsonl{ending}"
    path.write_bytes(content)
    source = Jsonl(path=str(path))
    if content.startswith(b"\x1f\x8b" if ending == ".gz" else b"\x28\xb5"):
        assert sum(batch.num_rows for batch in source.read(context)) == 2
        return
    with pytest.raises(
        DataError, match=rf"its name ends with {ending}, and its content is not compressed so"
    ):
        list(source.read(context))


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst", "rows.json", "rows.json.gz"]
)
def test_nothing_is_no_other_kind(name: str, tmp_path: Path, context: Any) -> None:
    (tmp_path / name).write_bytes(b"")
    assert list(Jsonl(path=str(tmp_path / name)).read(context)) == []


def test_a_remote_file_is_looked_at_too(context: Any) -> None:
    fsspec.filesystem("memory").pipe("/kinds/a.jsonl", gzip.compress(LINES))
    with pytest.raises(DataError, match="compressed with gzip"):
        list(Jsonl(path="memory://kinds/a.jsonl").read(context))
    fsspec.filesystem("memory").pipe("/kinds/b.jsonl", LINES)
    [batch] = Jsonl(path="memory://kinds/b.jsonl").read(context)
    assert batch.num_rows == 2


def test_texts_that_begin_like_other_kinds_are_read(tmp_path: Path, context: Any) -> None:
    path = tmp_path / "rows.csv"
    for first in ("PAR1", "BZh9", "PK", "<htm", "version"):
        path.write_text(f"{first},b\n1,2\n")
        [batch] = Csv(path=str(path)).read(context)
        assert batch.schema.names == [first, "b"]
