"""The parts of a source are the same whoever writes them, and those that are there are kept."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.run import source_parts, source_rows
from gristmill.pipelines.run.source_rows import SourceRows
from gristmill.pipelines.run.whole_table.pool import Task, ThreadTasks
from gristmill.pipelines.sources import Count, Jsonl, Parquet, json_blocks, parquet
from gristmill.pipelines.store.parts import Part
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.store.step_store import StepStore

ROWS = 230


class Apart(ThreadTasks):
    """Tasks as other processes get them. ``done``: how many were carried out."""

    apart: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(2)
        self.done = 0

    def run(self, tasks: Iterable[Task], done: Callable[[int, Any], None], check: Callable[[], None]) -> None:
        tasks = [pickle.loads(pickle.dumps(task)) for task in tasks]
        self.done += len(tasks)
        super().run(reversed(tasks), lambda place, result: done(len(tasks) - 1 - place, result), check)


class Written:
    """A step's store and the parts that were written in this session."""

    def __init__(self, run: Path) -> None:
        self.store: StepStore = RunDirectory.create(run, name="parts").begin_step("rows", "f" * 64)
        self.parts: list[Part] = []
        self.said = {"folder": self.store.path, "step": "f" * 64, "basis": "b", "origin": "o"}

    def add(self, part: Part) -> None:
        self.store.add(part)
        self.parts.append(part)

    def commit(self, source: Any, context: Any, pool: ThreadTasks | None = None) -> None:
        SourceRows(context, pool or ThreadTasks(2), self.store, self.said, self.add).commit(source)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.store.files()}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_parts, "PART_ROWS", 50)
    monkeypatch.setattr(source_rows, "PART_ROWS", 50)
    monkeypatch.setattr(json_blocks, "BLOCK_BYTES", 300)
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 60)


@pytest.fixture(params=["parquet", "jsonl"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    table = pa.table({"n": range(ROWS), "text": [f"text {n % 9}" for n in range(ROWS)]})
    if request.param == "parquet":
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=120)
        return Parquet(path=str(tmp_path / "a.parquet"))
    (tmp_path / "a.jsonl").write_text("".join(f'{{"n": {n}, "text": "text {n % 9}"}}\n' for n in range(ROWS)))
    return Jsonl(path=str(tmp_path / "a.jsonl"))


def test_tasks_elsewhere_write_the_same_parts(tmp_path: Path, context: Any, source: Any) -> None:
    here, apart, pool = Written(tmp_path / "here"), Written(tmp_path / "apart"), Apart()
    here.commit(source, context)
    apart.commit(source, context, pool)
    assert pool.done > 1
    assert apart.files() == here.files()
    table = apart.store.table()
    assert table["n"].to_pylist() == list(range(ROWS))
    assert table["_id"].to_pylist() == [f"{table['_id'][0].as_py()[:10]}{n:010d}" for n in range(ROWS)]
    parts = apart.store.parts()
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert max(part.ledger.made for part in parts) <= 50


@pytest.mark.parametrize("elsewhere", [True, False])
def test_only_the_missing_parts_are_written(
    tmp_path: Path, context: Any, source: Any, elsewhere: bool
) -> None:
    written, pool = Written(tmp_path / "run"), Apart() if elsewhere else None
    written.commit(source, context, pool)
    before = written.files()
    lost = written.parts[1]
    written.store.drop(lost)
    written.parts.clear()
    written.commit(source, context, pool)
    assert [part.start for part in written.parts] == [lost.start]
    assert written.files() == before


@pytest.mark.parametrize("rows", [30, 130])
def test_parts_of_another_division_hold_each_row_once(
    tmp_path: Path, context: Any, source: Any, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Those within a task are kept, those that cross the end of one are dropped."""
    written = Written(tmp_path / "run")
    with monkeypatch.context() as other:
        other.setattr(source_parts, "PART_ROWS", rows)
        other.setattr(json_blocks, "BLOCK_BYTES", 1 << 20)
        other.setattr(parquet, "_BATCH_ROWS", 1000)
        written.commit(source, context)
    written.store.drop(written.parts[0])
    written.commit(source, context)
    parts = written.store.parts()
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert written.store.table()["n"].to_pylist() == list(range(ROWS))


def test_large_rows_make_small_parts(tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"text": ["x" * 900] * ROWS})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False)
    monkeypatch.setattr(source_parts, "PART_ROWS", 1000)
    monkeypatch.setattr(source_parts, "PART_BYTES", 20_000)
    written = Written(tmp_path / "run")
    written.commit(Parquet(path=str(tmp_path / "a.parquet")), context)
    assert [part.ledger.made for part in written.parts] == [22] * 10 + [10]


def test_a_source_without_pieces_is_read_in_order(
    tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, pool = Written(tmp_path / "run"), Apart()
    written.commit(Count(rows=120), context, pool)
    assert [part.ledger.made for part in written.parts] == [50, 50, 20]
    assert pool.done == 0
    for rows, parts in ((100, [100, 20]), (60, [60, 60])):
        monkeypatch.setattr(source_rows, "PART_ROWS", rows)
        written.commit(Count(rows=120), context)
        assert [part.ledger.made for part in written.store.parts()] == parts


def test_what_was_written_before_an_error_stays(tmp_path: Path, context: Any, source: Any) -> None:
    written = Written(tmp_path / "run")

    def stop() -> None:
        if len(written.parts) == 2:
            raise DataError("stopped")

    context.check = stop
    with pytest.raises(DataError, match="stopped"):
        written.commit(source, context)
    assert len(written.files()) >= 2
    context.check = lambda: None
    before = len(written.parts)
    written.commit(source, context)
    assert written.store.ledger().made == ROWS
    assert len({part.start for part in written.parts}) == len(written.parts) > before
