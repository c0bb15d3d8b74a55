"""Files of rows are the same whatever the parts, the batches and the number of files at a time."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from gristmill.contracts import stored_rows
from gristmill.contracts.errors import StoreError
from gristmill.contracts.stored_rows import TableRows
from gristmill.pipelines.run.whole_table.memory import TABLES, TASK_WORK, Shares
from gristmill.pipelines.run.whole_table.pool import ThreadTasks
from gristmill.pipelines.sinks import ArrowExport, ParquetExport, export

ROWS = 103
TABLE = pa.table({"text": [f"text {n}" for n in range(ROWS)], "n": range(ROWS)})


class Elsewhere(ThreadTasks):
    """Carries out tasks as another process gets them."""

    def run(self, tasks: Iterable[Any], done: Any, check: Any) -> None:
        super().run([pickle.loads(pickle.dumps(task)) for task in tasks], done, check)


def write_lines(tables: Iterator[pa.Table], path: Path) -> None:
    path.write_text("".join(f"{table.num_rows}: {table['n'].to_pylist()}\n" for table in tables))


@pytest.mark.parametrize("part_rows", [1, 7, 200])
@pytest.mark.parametrize(("files", "file_rows"), [(1, None), (4, 30), (11, 10), (2, 102)])
def test_a_file_has_its_rows_in_batches_of_one_size(
    make_disk, monkeypatch, tmp_path: Path, part_rows: int, files: int, file_rows: int | None
) -> None:
    monkeypatch.setattr(stored_rows, "BATCH_ROWS", 9)
    rows = make_disk(TABLE, part_rows).rows()
    paths = [[tmp_path / f"{kind}{number}" for number in range(files)] for kind in ("disk", "table")]
    rows.write(write_lines, paths[0], ["n"], file_rows=file_rows)
    TableRows(TABLE).write(write_lines, paths[1], ["n"], file_rows=file_rows)
    texts = [[path.read_text() for path in each] for each in paths]
    assert texts[0] == texts[1]
    assert sum(line.count(",") + 1 for text in texts[0] for line in text.splitlines()) == ROWS


def test_no_rows_are_a_file_that_knows_the_columns(make_disk, tmp_path: Path) -> None:
    rows = make_disk(TABLE.append_column("drop", pa.array([True] * ROWS))).rows()
    rows.write(write_lines, [tmp_path / "file"])
    assert (tmp_path / "file").read_text() == "0: []\n"


def test_a_file_that_cannot_be_written_is_one_error(make_disk, tmp_path: Path) -> None:
    rows = make_disk(TABLE).rows()
    with pytest.raises(StoreError, match=r"cannot write .*nowhere/1: No such file"):
        rows.write(write_lines, [tmp_path / "0", tmp_path / "nowhere/1"], file_rows=60)


def test_a_parquet_export_is_the_file_of_the_whole_table(
    make_disk, context, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stored_rows, "BATCH_ROWS", 20)
    monkeypatch.setattr("gristmill.pipelines.sinks.parquet._GROUP_ROWS", 20)
    rows = make_disk(TABLE).rows()
    ParquetExport().export(rows, context, tmp_path / "out")
    whole = rows.table(["_id", "text", "n"]).rename_columns(["id", "text", "n"]).combine_chunks()
    pq.write_table(whole, tmp_path / "whole.parquet", compression="zstd", row_group_size=20)
    assert (tmp_path / "out/data.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_large_folder_has_several_files_and_the_same_rows(
    make_disk, context, monkeypatch, tmp_path: Path
) -> None:
    import datasets

    monkeypatch.setattr("gristmill.pipelines.sinks.arrow.FILE_ROWS", 40)
    monkeypatch.setattr(export, "FILE_ROWS", 40)
    written = ArrowExport().export(make_disk(TABLE).rows(), context, tmp_path / "set")
    assert [name for name in written.files if name.endswith(".arrow")] == [
        f"data-{number:05d}-of-00003.arrow" for number in range(3)
    ]
    loaded = datasets.load_from_disk(str(tmp_path / "set"))
    assert loaded["n"][:] == list(range(ROWS))
    rows = make_disk(TABLE, 30).rows()
    elsewhere = replace(rows, workshop=replace(rows.workshop, pool=Elsewhere(2)))
    ArrowExport().export(elsewhere, context, tmp_path / "elsewhere")
    for name in written.files:
        assert (tmp_path / "elsewhere" / name).read_bytes() == (tmp_path / "set" / name).read_bytes()


def test_tasks_at_a_time_fit_into_half_of_what_is_free() -> None:
    import psutil

    limit = psutil.Process().memory_info().rss + 10 * TASK_WORK
    shares = Shares.of(limit, 64)
    assert 4 <= shares.width <= 6
    assert shares.width * TABLES * shares.task + shares.operator <= limit
    assert Shares.of(limit, 2).width == 2
    least = Shares.of(1 << 20, 64)
    assert least.width == 1
    assert least.needed > 2 * TASK_WORK


MEASURED = """
import sys
from pathlib import Path
import gristmill
from gristmill.pipelines.view.silent import SilentView
gristmill.run("rows.yaml", "run", observer=SilentView(sys.stderr), memory={limit})
# The peak of this program alone: getrusage would count that of the process that started it.
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
PIPELINE = """
gristmill: 1
name: rows
steps:
  rows: {source: parquet, path: rows.parquet}
  unique: {dedup: exact, columns: [text], from: rows}
  kept: {keep: "n >= 0", from: unique}
  out: {export: parquet, from: kept}
"""
#: MB: less than the process and its rows, which are 2 kB each.
LIMIT, ROWS_MEASURED = 640, 320_000


def test_the_rows_of_a_run_do_not_fit_into_the_limit_that_it_keeps(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.string()), ("n", pa.int64())])
    with pq.ParquetWriter(tmp_path / "rows.parquet", schema, compression="zstd") as out:
        for start in range(0, ROWS_MEASURED, 20_000):
            numbers = pa.array(range(start, start + 20_000))
            texts = pc.utf8_lpad(numbers.cast(pa.string()), 2000, "0")
            out.write_table(pa.table({"text": texts, "n": numbers}))
    (tmp_path / "rows.yaml").write_text(PIPELINE)
    command = [sys.executable, "-P", "-c", MEASURED.format(limit=LIMIT * 10**6)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.splitlines()[-1]) * 1024 <= LIMIT * 10**6
    assert "cannot be kept" not in done.stderr
