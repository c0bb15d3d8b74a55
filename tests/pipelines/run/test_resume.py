"""Stopping and resuming: budgets, Ctrl-C, edits, damage, a full disk, two runs at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import gristmill
from gristmill.contracts.errors import BudgetReached, GristmillError, StoreError
from gristmill.pipelines.run import loop
from gristmill.pipelines.run.events import Event, Notice, PartDone, RunEnded, StepDone
from gristmill.pipelines.store.run_directory import RunDirectory

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))
PIPELINE = """
gristmill: 1
name: resumed
seed: 5
models:
  base: {{engine: synthetic, latency: {latency}, max_num_seqs: 8, request_log: "{folder}/requests.log"}}
steps:
  prompts: {{source: constraints, split: train, rows: 96}}
  answers:
    {{generate: template, template: "{template}", parser: {{kind: text}}, from: prompts, model: base,
      max_tokens: 8}}
  scored:  {{score: length, from: answers}}
  unique:  {{dedup: exact, columns: [response], from: scored}}
  chosen:  {{select: random, rows: 20, from: unique}}
"""


class Log:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on(self, event: Event) -> None:
        self.events.append(event)

    def reused(self) -> set[str]:
        return {each.step for each in self.events if isinstance(each, StepDone) and each.reused}

    def notices(self) -> str:
        return "\n".join(each.text for each in self.events if isinstance(each, Notice))

    def status(self) -> str:
        return next(each.status for each in self.events if isinstance(each, RunEnded))


def write(folder: Path, *, latency: float = 0.0, template: str = "Answer this: {{{{ prompt }}}}") -> Path:
    file = folder / "resumed.yaml"
    file.write_text(PIPELINE.format(folder=folder, latency=latency, template=template.format()))
    return file


def requested(folder: Path) -> Counter[str]:
    return Counter((folder / "requests.log").read_text().split())


def test_a_token_budget_stops_the_run_cleanly_and_survives_a_resume(tmp_path: Path) -> None:
    file, log = write(tmp_path), Log()
    with pytest.raises(BudgetReached, match=r"the budget of 900 tokens is spent.*budget\.tokens"):
        gristmill.run(file, tmp_path / "run", overrides=["budget.tokens=900"], observer=log)
    assert log.status() == "budget"
    paid = len(requested(tmp_path))
    assert 0 < paid < 96
    with pytest.raises(BudgetReached):
        gristmill.run(file, tmp_path / "run", overrides=["budget.tokens=900"], observer=Log())
    assert len(requested(tmp_path)) == paid
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    assert set(requested(tmp_path).values()) == {1}
    assert len(run["answers"]) == 96


@pytest.mark.parametrize("limit", ["rows=10", "time=0.000001"])
def test_budgets_of_rows_and_time_stop_it_too(tmp_path: Path, limit: str) -> None:
    with pytest.raises(BudgetReached, match="continue from here"):
        gristmill.run(write(tmp_path), tmp_path / "run", overrides=[f"budget.{limit}"], observer=Log())


def test_rows_that_a_model_only_rates_are_not_in_the_budget_of_rows(tmp_path: Path) -> None:
    file, log = write(tmp_path), Log()
    file.write_text(file.read_text() + "  liked:   {score: likelihood, from: answers, model: base}\n")
    run = gristmill.run(file, tmp_path / "run", overrides=["budget.rows=97"], observer=log)
    assert run["liked"].store.usage().requests == 96
    assert run.directory.spent()[1] == 96
    assert sum(each.generated for each in log.events if isinstance(each, PartDone)) == 96
    gristmill.run(file, tmp_path / "run", overrides=["budget.rows=97"], observer=Log())


def test_ctrl_c_exits_130_says_how_to_go_on_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    file = write(tmp_path, latency=0.4)
    command = [GRISTMILL, "run", str(file), "--trust", "--run", str(tmp_path / "run"), "--no-report"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "run").glob("steps/answers-*/part-*")):
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, out + err
    assert f"gristmill run {file} --run {tmp_path / 'run'}" in out + err
    assert "Traceback" not in out + err
    committed = set(RunDirectory(tmp_path / "run").path.glob("steps/answers-*/part-*.parquet"))
    assert committed
    run = gristmill.run(write(tmp_path), tmp_path / "run", observer=Log())
    assert len(run["answers"]) == 96
    again = sum(requested(tmp_path).values()) - 96
    assert again <= 3 * 16


def test_a_second_run_on_the_directory_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, latency=60.0)  # longer than a second process takes to start on a busy machine
    command = [
        GRISTMILL,
        "run",
        str(file),
        "--trust",
        "--run",
        str(tmp_path / "run"),
        "--quiet",
        "--no-report",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        while not (tmp_path / "requests.log").exists():
            time.sleep(0.02)
            assert process.poll() is None
        second = subprocess.run(command, capture_output=True, text=True)
        assert second.returncode == 1
        assert f"in use by another run (process {process.pid})" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
    finally:
        process.kill()
        process.communicate()


def test_an_edited_template_runs_only_its_step_and_what_depends_on_it(tmp_path: Path) -> None:
    gristmill.run(write(tmp_path), tmp_path / "run", observer=Log())
    log = Log()
    gristmill.run(write(tmp_path, template="Please answer: {{{{ prompt }}}}"), tmp_path / "run", observer=log)
    assert log.reused() == {"prompts"}
    assert "answers, scored, unique, chosen run again, the rest is kept" in log.notices()
    # The rows of the previous version still exist: going back runs nothing.
    log = Log()
    gristmill.run(write(tmp_path), tmp_path / "run", observer=log)
    assert log.reused() == {"prompts", "answers", "scored", "unique", "chosen"}


def test_changing_a_threshold_does_not_generate_again(tmp_path: Path) -> None:
    file, log = write(tmp_path), Log()
    gristmill.run(file, tmp_path / "run", observer=Log())
    gristmill.run(file, tmp_path / "run", overrides=["steps.chosen.rows=5"], observer=log)
    assert log.reused() == {"prompts", "answers", "scored", "unique"}


@pytest.mark.parametrize("damage", ["truncated", "removed", "empty"])
def test_a_damaged_part_is_named_and_just_that_part_is_made_again(tmp_path: Path, damage: str) -> None:
    file, log = write(tmp_path), Log()
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    parts = sorted(run["answers"].store.path.glob("part-*.parquet"))
    before = {path: path.read_bytes() for path in parts}
    if damage == "removed":
        parts[2].unlink()
    else:
        parts[2].write_bytes(before[parts[2]][: 100 if damage == "truncated" else 0])
    gristmill.run(file, tmp_path / "run", observer=log)
    assert parts[2].name in log.notices()
    assert "made again" in log.notices()
    assert {path: path.read_bytes() for path in parts} == before
    assert sum(requested(tmp_path).values()) == 96 + 16
    assert log.reused() == {"prompts", "scored", "unique", "chosen"}


def test_a_part_that_turns_out_to_be_damaged_when_it_is_read_is_made_again_at_once(tmp_path: Path) -> None:
    file = write(tmp_path)
    run = gristmill.run(file, tmp_path / "run", until="scored", observer=Log())
    part = sorted(run["scored"].store.path.glob("part-*.parquet"))[0]
    whole = part.read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 8] ^= 0xFF
    part.write_bytes(broken)
    log = Log()
    gristmill.run(file, tmp_path / "run", observer=log)
    assert f"{part} is damaged (its rows are not those that were written): it is set aside" in log.notices()
    assert part.read_bytes() == whole
    assert set(requested(tmp_path).values()) == {1}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a small tmpfs cannot be mounted here (needs root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_named_and_nothing_committed_is_lost(tmp_path: Path, small_disk: Path) -> None:
    file = write(tmp_path)
    with pytest.raises(StoreError, match="the disk is full: free some space, then run again"):
        gristmill.run(file, small_disk / "run", observer=Log())
    paid = len(requested(tmp_path))
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    run = gristmill.run(file, small_disk / "run", observer=Log())
    assert len(run["answers"]) == 96
    again = sum(requested(tmp_path).values()) - 96
    assert paid > 0
    assert again <= 3 * 16


def test_time_counts_while_no_answer_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    class Waiting(Log):
        def on(self, event: Event) -> None:
            super().on(event)
            if isinstance(event, PartDone) and event.step == "answers" and not seen:
                seen.append(RunDirectory.open(tmp_path / "run").seconds())

    monkeypatch.setattr(loop, "CLOCK_SECONDS", 0.05)
    started = time.monotonic()
    gristmill.run(write(tmp_path, latency=1.0), tmp_path / "run", observer=Waiting())
    assert 0.9 < seen[0] < time.monotonic() - started


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="cannot make the run directory"):
        gristmill.run(write(tmp_path), blocked / "run", observer=Log())


def test_a_step_to_stop_after_must_exist(tmp_path: Path) -> None:
    with pytest.raises(
        GristmillError, match="there is no step 'answer' to stop after; the steps are prompts"
    ):
        gristmill.run(write(tmp_path), tmp_path / "run", until="answer", observer=Log())


def test_from_python_the_rows_come_as_arrow_pandas_and_hugging_face(tmp_path: Path) -> None:
    run = gristmill.run(write(tmp_path), tmp_path / "run", observer=Log())
    rows = run["chosen"]
    assert rows.to_arrow().num_rows == len(rows.to_pandas()) == len(rows.to_hf()) == len(rows) == 20
    assert "_fate" not in rows.to_arrow().column_names
    assert list(gristmill.open_run(tmp_path / "run")) == ["prompts", "answers", "scored", "unique", "chosen"]
    with pytest.raises(KeyError, match="no step 'choosen'"):
        run["choosen"]


def test_a_run_starts_from_within_a_running_event_loop(tmp_path: Path) -> None:
    import asyncio

    async def notebook() -> int:
        return len(gristmill.run(write(tmp_path), tmp_path / "run", observer=Log())["chosen"])

    assert asyncio.run(notebook()) == 20
    assert os.path.exists(tmp_path / "run" / "run.json")
