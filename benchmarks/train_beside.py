"""Training on a CPU, alone and beside four light programs: how fast, by the way in which threads wait.

    .venv/bin/python benchmarks/train_beside.py [--quick]

The training is that of ``train_cpu.py`` in bf16. A light program computes for 5 ms, then sleeps for 5 ms.
Runs alternate, each in a fresh process, whose first two steps are not timed. ``spinning``: threads wait as
OpenMP has it by default. ``sleeping``: with OMP_WAIT_POLICY=PASSIVE. ``by load``: as a training chooses
(``trainer/waiting.py``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import Figure, median, run_case, versions, write
from train_cpu import write_rows

LIGHT, SECONDS = 4, 0.005
POLICIES = ("spinning", "sleeping", "by load")
WARM_UP, TIMED = 2, 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one run each")
    parser.add_argument("--light", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--train", nargs=3, metavar=("POLICY", "MODEL", "ROWS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.light:
        be_light()
    elif given.train:
        train(*given.train)
    else:
        measure(1 if given.quick else 3)


def measure(times: int) -> None:
    from gristmill.pipelines.weights import resolve

    model = str(resolve("smollm2-135m-instruct").path)
    runs: dict[str, list[float]] = {
        f"{policy}, {where}": [] for policy in POLICIES for where in ("alone", "beside")
    }
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        write_rows(rows, 4 * (WARM_UP + TIMED))
        for _ in range(times):
            for policy in POLICIES:
                command = [sys.executable, __file__, "--train", policy, model, str(rows)]
                runs[f"{policy}, alone"].append(_speed(command))
                with light_programs():
                    runs[f"{policy}, beside"].append(_speed(command))
                print(policy, runs[f"{policy}, alone"][-1], runs[f"{policy}, beside"][-1], flush=True)
    speeds = {name: median(found) for name, found in runs.items()}
    idle = speeds["spinning, alone"]
    figures = [
        Figure(
            f"tokens per s {name}", "1/s", speed, idle, "spinning, alone", "", speed / idle,
            ">= 1/3" if name.endswith("beside") else ">= 0.95"
        )
        for name, speed in speeds.items()
    ]  # fmt: skip
    write("train_beside", figures, versions("torch"), {"runs": runs})


def _speed(command: list[str]) -> float:
    speed: float = run_case(command, timeout=1200).answer["tokens_per_s"]
    return speed


@contextmanager
def light_programs() -> Iterator[None]:
    programs = [subprocess.Popen([sys.executable, __file__, "--light"]) for _ in range(LIGHT)]
    try:
        time.sleep(1)  # until all have started
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def be_light() -> None:
    while True:
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            pass
        time.sleep(SECONDS)


def train(policy: str, model: str, rows: str) -> None:
    if policy == "sleeping":  # read when libgomp is loaded
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    from train_cpu_ours import main as run

    from gristmill.trainer import waiting

    if policy == "spinning":
        waiting.CROWDED = float("inf")
    run("bf16", model, rows, WARM_UP, profile=False)


if __name__ == "__main__":
    sys.exit(main())
