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


def test_one_run_trains_in_all_processes_of_torchrun(make_model, tmp_path: Path) -> None:
    make_model()
    rows = [{"prompt": f"say {n}", "response": "abc"[: 1 + n % 3]} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "first.yaml").write_text(FILE)
    torchrun = [str(BIN / "torchrun"), "--standalone", "--nproc-per-node=2", "--no-python"]
    done = subprocess.run(
        [*torchrun, str(BIN / "gristmill"), "train", "first.yaml", "--trust", "--quiet"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained  8 rows in 2 steps") == 1
    (part,) = open_run(tmp_path / "runs" / "first")["student"].store.parts()
    assert part.summary is not None
    assert part.summary["processes"] == 2


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
