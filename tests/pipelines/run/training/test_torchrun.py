"""``torchrun … gristmill train FILE``: one run, whose training all processes join."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill import open_run

BIN = Path(sys.executable).parent
FILE = """
train: sft
model: ./model
data: rows.jsonl
quantize: none
dtype: fp32
device: cpu
max_length: 64
batch_rows: 4
pack_tokens: 1
adapter: {rank: 2, alpha: 4}
"""

MERGED = """
gristmill: 1
name: merged
models: {base: {path: ./model}}
steps:
  rows: {source: jsonl, path: rows.jsonl}
  left: {train: sft, from: rows, model: base, quantize: none, dtype: fp32, device: cpu, max_length: 64}
  best: {merge: greedy_soup, from: rows, model: base, students: [left], device: cpu}
  right: {train: sft, from: rows, model: best, quantize: none, dtype: fp32, device: cpu, max_length: 64}
"""


def _in_two_processes(folder: Path, *command: str) -> str:
    """Return what ``gristmill`` prints under torchrun."""
    rows = [{"prompt": f"say {n}", "response": "abc"[: 1 + n % 3]} for n in range(8)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    torchrun = [str(BIN / "torchrun"), "--standalone", "--nproc-per-node=2", "--no-python"]
    done = subprocess.run(
        [*torchrun, str(BIN / "gristmill"), *command, "--trust", "--quiet"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_run_trains_in_all_processes_of_torchrun(make_model, tmp_path: Path) -> None:
    make_model()
    (tmp_path / "first.yaml").write_text(FILE)
    assert _in_two_processes(tmp_path, "train", "first.yaml").count("trained  8 rows in 2 steps") == 1
    (part,) = open_run(tmp_path / "runs" / "first")["student"].store.parts()
    assert part.summary is not None
    assert part.summary["processes"] == 2


def test_the_first_process_merges_and_all_train_before_and_after_it(make_model, tmp_path: Path) -> None:
    make_model()
    (tmp_path / "merged.yaml").write_text(MERGED)
    _in_two_processes(tmp_path, "run", "merged.yaml")
    run = open_run(tmp_path / "runs" / "merged")
    for name, processes in (("left", 2), ("best", None), ("right", 2)):
        (part,) = run[name].store.parts()
        assert part.summary is not None
        assert part.summary.get("processes") == processes


COMMAND = """
import atexit, sys
from gristmill.pipelines.run.training.torchrun import only_once


class Kept:
    def __del__(self):
        print("finalized")


kept = Kept()
atexit.register(print, "closed")
only_once(lambda: {status})
print("returned")
"""


@pytest.mark.parametrize("status", [0, 3])
def test_a_process_ends_without_the_interpreter_that_its_threads_would_abort(
    status: int, tmp_path: Path
) -> None:
    (tmp_path / "command.py").write_text(COMMAND.format(status=status))
    torchrun = [str(BIN / "torchrun"), "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(tmp_path / "command.py")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.replace("\n", "") == "closed" * 2, done.stderr
    assert ("exitcode  : 3" in done.stderr) == (status == 3)
