"""What a run has spent: also on parts that were dropped, or set aside."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from gristmill.contracts.inference import Usage
from gristmill.pipelines.store import damage
from gristmill.pipelines.store.integrity import check
from gristmill.pipelines.store.mending import repair
from gristmill.pipelines.store.parts import Part
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.store.spending import record_drop
from gristmill.pipelines.store.step_store import StepStore

PRINT = "a1" * 32


def commit(store: StepStore, number: int) -> Part:
    """A part of one generated row and 12 tokens."""
    usage = Usage(requests=1, prompt_tokens=5, completion_tokens=7, usd=0.5)
    table = pa.table({"_id": [f"{number:020x}"], "_fate": ["kept"]})
    said = {"start": number, "stop": number + 1, "basis": "rows", "rows_in": 1, "usage": usage}
    return store.commit(table, **said, makes_rows=True)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "run", name="test")
    run.write_plan(1, {"round": 1, "steps": {}, "models": {}})
    run.write_result(1, {"round": 1, "decision": "none", "metrics": {}, "carry": {}})
    run.write_spec("name: test\n")
    run.write_seconds(1)
    return run


@pytest.fixture
def store(run: RunDirectory) -> StepStore:
    store = run.begin_step("answers", PRINT)
    for number in range(3):
        commit(store, number)
    return store


def spent(run: RunDirectory) -> tuple[int, int, float]:
    usage, rows = run.spent()
    return usage.tokens, rows, usage.usd


def test_what_dropped_parts_cost_stays_counted(run: RunDirectory, store: StepStore) -> None:
    store.drop(*store.parts()[:2])
    assert spent(run) == (36, 3, 1.5)
    commit(store, 0)  # the same bytes as before, and paid for again
    assert spent(run) == (48, 4, 2.0)
    store.drop(*store.parts())
    assert [path.name for path in store.files()] == []
    assert spent(run) == (48, 4, 2.0)
    assert list(check(run)) == []


def test_nothing_counts_twice_if_the_run_is_killed_before_they_are_removed(
    run: RunDirectory, store: StepStore
) -> None:
    parts = store.parts()
    record_drop(run.path, parts[:2])
    assert spent(run) == (36, 3, 1.5)
    parts[0].path.unlink()
    assert spent(run) == (36, 3, 1.5)
    store.forget()
    store.drop(*store.parts())
    assert spent(run) == (36, 3, 1.5)


def test_parts_that_cost_nothing_leave_no_record(run: RunDirectory) -> None:
    store = run.begin_step("rows", "b2" * 32)
    table = pa.table({"_id": ["a"], "_fate": ["kept"]})
    store.drop(store.commit(table, start=0, stop=1, basis="rows", rows_in=1, usage=Usage()))
    assert not (run.path / "dropped.json").exists()


def test_parts_that_were_set_aside_count_and_links_are_not_followed(
    run: RunDirectory, store: StepStore, tmp_path: Path
) -> None:
    for again in (1, 2):
        path = store.parts()[0].path
        data = bytearray(path.read_bytes())
        data[8] ^= 1  # in the rows
        path.write_bytes(data)
        assert damage.set_aside(path, run.path) is not None
        commit(store, 0)
        assert spent(run) == (36 + 12 * again, 3 + again, 1.5 + 0.5 * again)
    unreadable = store.parts()[1].path
    unreadable.write_bytes(unreadable.read_bytes()[:-9])
    assert len(repair(store, "rows")) == 1
    assert spent(run) == (48, 4, 2.0)
    (run.path / "damaged/steps/other-a1").symlink_to(store.path)
    assert spent(run) == (48, 4, 2.0)


def test_a_damaged_record_is_told_and_set_aside(run: RunDirectory, store: StepStore) -> None:
    store.drop(store.parts()[0])
    (run.path / "dropped.json").write_text("{}")
    [found] = check(run)
    assert (found.path.name, found.can_be_moved) == ("dropped.json", True)
    assert found.remedy == "the next run no longer counts what dropped parts cost"
    assert spent(run) == (24, 2, 1.0)
    [told] = run.mend()
    assert "dropped.json is damaged" in told
    store.drop(store.parts()[0])
    assert spent(run) == (24, 2, 1.0)
