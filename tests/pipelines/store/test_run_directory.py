from __future__ import annotations

import fcntl
import multiprocessing
import os
from pathlib import Path

import pyarrow as pa
import pytest

from gristmill.contracts.errors import StoreError
from gristmill.contracts.inference import Usage
from gristmill.pipelines.store.mending import repair
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.store.step_store import StepStore

PRINT = "a1" * 32


def fill(run: RunDirectory, parts: int = 3) -> StepStore:
    store = run.begin_step("answers", PRINT)
    for number in range(parts):
        table = pa.table({"_id": [f"{number:020x}"], "_fate": ["kept"]})
        usage = Usage(requests=2, prompt_tokens=5, completion_tokens=7)
        store.commit(
            table, start=number, stop=number + 1, basis="rows", rows_in=1, usage=usage, makes_rows=True
        )
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
    told = repair(store, "rows")
    assert len(told) == 1
    assert damaged.name in told[0]
    assert "made again" in told[0]
    assert [part.start for part in store.parts()] == [0, 2]


def test_repair_tells_of_a_missing_part_and_drops_those_of_another_basis(run: RunDirectory) -> None:
    fill(run).parts()[0].path.unlink()
    store = run.step("answers", PRINT)
    assert "is missing" in repair(store, "rows")[0]
    repair(store, "other rows")
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
        end.wait(300)


def test_a_second_run_on_one_directory_is_refused(run: RunDirectory) -> None:
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(run.path, ready, end))
    other.start()
    try:
        assert ready.wait(300)
        with pytest.raises(StoreError, match=f"in use by another run \\(process {other.pid}\\)"), run.lock():
            pass
    finally:
        end.set()
        other.join()
    with run.lock():
        pass


def test_a_run_that_lost_its_run_json_is_told_apart_from_another_folder(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", name="n")
    (run.path / "run.json").unlink()
    with pytest.raises(StoreError, match=r"run.json is missing: run the pipeline again.*gristmill check"):
        RunDirectory.open(run.path)


def test_a_directory_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run directory"):
        RunDirectory.open(tmp_path)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="cannot make the run directory"):
        RunDirectory.create(blocked / "run", name="test")
    assert os.path.exists(blocked)


OTHERS = {
    "a folder": lambda path: path.mkdir(),
    "a link to a file": lambda path: path.symlink_to(__file__),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_in_the_place_of_the_lock_is_moved_and_never_opened(run: RunDirectory, other: str) -> None:
    here = Path(__file__).read_bytes()
    OTHERS[other](run.path / "lock")
    with run.lock():
        assert (run.path / "lock").read_text() == str(os.getpid())
        assert not (run.path / "lock").is_symlink()
    assert os.path.lexists(run.path / "damaged/lock")
    assert Path(__file__).read_bytes() == here


def test_a_lock_that_was_removed_and_made_anew_is_the_one_that_counts(run: RunDirectory) -> None:
    with run.lock() as held:
        (run.path / "lock").unlink()
        with run.lock() as other:
            assert other.path.stat().st_ino != os.fstat(held._handle or -1).st_ino
            with pytest.raises(StoreError, match="in use by another run"), run.lock():
                pass


def test_a_clock_that_is_lost_goes_on_from_the_finished_steps(run: RunDirectory) -> None:
    assert run.seconds() == 0
    fill(run)
    assert run.seconds() == 1.0
    run.write_seconds(7.5)
    assert run.seconds() == 7.5
    for text in ("[]", "{}", "", '{"seconds": "x"}'):
        (run.path / "clock.json").write_text(text)
        assert run.seconds() == 1.0


def test_the_runs_own_records_are_set_aside_and_named(run: RunDirectory) -> None:
    for number in (1, 2):
        run.write_plan(number, {"round": number, "steps": {}, "models": {}})
    run.write_spec("name: test\n")
    run.write_seconds(1)
    assert run.mend() == []
    (run.path / "rounds/1/plan.json").write_text("{}")
    (run.path / "rounds/.DS_Store").write_text("")
    (run.path / "rounds/01").mkdir()
    (run.path / "spec.yaml").unlink()
    (run.path / "spec.yaml").mkdir()
    told = run.mend()
    assert len(told) == 2
    assert [each.number for each in run.rounds()] == [2]
    assert run.spec() == ""
    run.write_spec("name: test\n")
    assert run.spec() == "name: test\n"


def test_a_plan_that_was_replaced_is_kept_and_checked(run: RunDirectory) -> None:
    request = {"operator": "count", "version": 1, "params": {}, "content": {}, "models": {}}
    step = {"request": request, "from": [], "models": {}, "reads": {}}
    plans = [
        {"round": 1, "steps": {"rows": {**step, "fingerprint": f"{letter}1" * 32}}, "models": {}}
        for letter in "abc"
    ]
    for plan in (plans[0], plans[1], plans[1], plans[0], plans[2]):
        run.write_plan(1, plan)
    assert [each.plan for each in run.rounds()] == [plans[2]]
    assert sorted(run.former_plans(1), key=str) == plans[:2]
    assert run.former_plans(2) == []
    assert run.mend() == []
    former = sorted((run.path / "rounds/1").glob("plan-*.json"))[0]
    former.write_text(former.read_text().replace("count", "cound"))
    [told] = run.mend()
    assert str(former) in told
    assert len(run.former_plans(1)) == 1


@pytest.mark.parametrize("folder", ["steps", "rounds", "exports", "steps/answers-a1a1a1a1a1a1"])
@pytest.mark.parametrize("other", [each for each in OTHERS if each != "a folder"])
def test_what_is_in_the_place_of_a_folder_is_moved(run: RunDirectory, folder: str, other: str) -> None:
    if (run.path / folder).exists():
        (run.path / folder).rmdir()
    OTHERS[other](run.path / folder)
    again = RunDirectory.create(run.path, name="test")
    again.mend()
    assert fill(again).complete
    assert again.exports("dataset").parent.is_dir()
    assert os.path.lexists(run.path / "damaged" / folder)


def test_a_manifest_of_another_step_or_of_nothing_is_none(run: RunDirectory) -> None:
    path = fill(run).path / "manifest.json"
    other = RunDirectory.create(run.path / "other", name="other").begin_step("answers", "a1" * 6 + "b2" * 26)
    other.finish(operator="x", one_to_one=True, seconds=0, summary={})
    for content in (b"[]", b"{}", b"", bytes(80), (other.path / "manifest.json").read_bytes()):
        path.write_bytes(content)
        assert not run.step("answers", PRINT).complete
    told = repair(run.step("answers", PRINT), "rows")
    assert len(told) == 1
    assert "manifest.json is damaged" in told[0]
    assert len(run.step("answers", PRINT).parts()) == 3, "what was paid for is kept"


def test_a_part_of_another_step_is_set_aside(run: RunDirectory) -> None:
    store = fill(run)
    other = run.begin_step("others", "b2" * 32)
    table = pa.table({"_id": ["a"], "_fate": ["kept"]})
    part = other.commit(table, start=0, stop=1, basis="rows", rows_in=1, usage=Usage())
    store.parts()[0].path.write_bytes(part.path.read_bytes())
    told = repair(run.step("answers", PRINT), "rows")
    assert len(told) == 1
    assert "another file is in its place" in told[0]


def test_a_part_that_the_manifest_does_not_mean_is_set_aside(run: RunDirectory) -> None:
    store = fill(run)
    table = pa.table({"_id": ["other"], "_fate": ["kept"]})
    store.write(table, start=1, stop=2, basis="rows", rows_in=1, usage=Usage())
    told = repair(run.step("answers", PRINT), "rows")
    assert len(told) == 1
    assert "another file is in its place" in told[0]


def test_a_lock_that_is_replaced_between_opening_and_locking_does_not_count(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, calls = run.path / "lock", fcntl.flock, list[int]()

    def flock(handle: int, how: int) -> None:
        if not calls:
            path.unlink()
            path.touch()
        calls.append(how)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with run.lock() as held:
        assert held._handle is not None
        assert os.path.samestat(os.fstat(held._handle), path.lstat())
        assert path.read_text() == str(os.getpid())
    assert len(calls) == 2
