from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pyarrow as pa
import pytest

from gristmill.pipelines.errors import StoreError
from gristmill.pipelines.inference import Usage
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.store.step_store import StepStore

PRINT = "a1" * 32


def fill(run: RunDirectory, parts: int = 3) -> StepStore:
    store = run.begin_step("answers", PRINT)
    for number in range(parts):
        table = pa.table({"_id": [f"{number:020x}"], "_fate": ["kept"]})
        usage = Usage(requests=2, prompt_tokens=5, completion_tokens=7)
        store.commit(table, start=number, stop=number + 1, basis="rows", rows_in=1, usage=usage)
    store.finish(operator="generate: respond", one_to_one=True, seconds=1.0, summary={"n": parts})
    return store


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", name="test")


def test_a_step_is_complete_once_its_manifest_and_all_its_parts_are_there(run: RunDirectory) -> None:
    store = fill(run)
    assert store.complete
    assert store.manifest["ledger"] == {"rows_in": 3, "made": 3, "kept": 3, "filtered": 0, "failed": 0}
    assert store.usage().tokens == 36
    store.parts()[1].path.unlink()
    assert not run.step("answers", PRINT).complete


def test_repair_sets_aside_just_the_damaged_part(run: RunDirectory) -> None:
    damaged = fill(run).parts()[1].path
    damaged.write_bytes(damaged.read_bytes()[:-9])
    store = run.step("answers", PRINT)
    assert not store.complete
    told = store.repair("rows")
    assert len(told) == 1
    assert damaged.name in told[0]
    assert "made again" in told[0]
    assert [part.start for part in store.parts()] == [0, 2]


def test_repair_tells_of_a_missing_part_and_drops_those_of_another_basis(run: RunDirectory) -> None:
    fill(run).parts()[0].path.unlink()
    store = run.step("answers", PRINT)
    assert "is missing" in store.repair("rows")[0]
    store.repair("other rows")
    assert store.parts() == []


def test_a_ledger_that_does_not_add_up_is_refused(run: RunDirectory) -> None:
    store = run.begin_step("answers", PRINT)
    store.commit(
        pa.table({"_id": ["a"], "_fate": ["kept"]}), start=0, stop=2, basis="b", rows_in=2, usage=Usage()
    )
    with pytest.raises(StoreError, match="2 rows came in and 1 came out"):
        store.finish(operator="x", one_to_one=True, seconds=0, summary={})
    assert not store.complete


def test_what_was_spent_is_read_from_the_parts(run: RunDirectory) -> None:
    fill(run)
    usage, rows = run.spent()
    assert (usage.tokens, usage.requests, rows) == (36, 6, 3)


def _hold(
    path: Path, ready: multiprocessing.synchronize.Event, end: multiprocessing.synchronize.Event
) -> None:
    with RunDirectory.open(path).lock():
        ready.set()
        end.wait(20)


def test_a_second_run_on_one_directory_is_refused(run: RunDirectory) -> None:
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(run.path, ready, end))
    other.start()
    try:
        assert ready.wait(20)
        with pytest.raises(StoreError, match=f"in use by another run \\(process {other.pid}\\)"), run.lock():
            pass
    finally:
        end.set()
        other.join()
    with run.lock():
        pass


def test_a_directory_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run directory"):
        RunDirectory.open(tmp_path)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="cannot make the run directory"):
        RunDirectory.create(blocked / "run", name="test")
    assert os.path.exists(blocked)
