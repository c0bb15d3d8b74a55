"""Killed at any instant, a run ends with exactly the rows of an uninterrupted one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

ROWS, SAMPLES, BATCH = 96, 2, 16
PIPELINE = """
gristmill: 1
name: killed
seed: 5
models:
  base: {{engine: synthetic, latency: 0.03, max_num_seqs: 32, request_log: "{log}"}}
steps:
  prompts: {{source: jsonl, path: "{source}"}}
  answers: {{generate: respond, from: prompts, model: base, samples: {samples}, max_tokens: 12, logprobs: 2}}
  scored:  {{score: [length, mean_logprob], from: answers}}
  kept:    {{keep: "response_words > 2", from: scored}}
  unique:  {{dedup: exact, from: kept}}
  again:   {{generate: respond, from: unique, model: base, max_tokens: 4}}
  chosen:  {{select: random, rows: 40, from: again}}
  dataset: {{export: parquet, from: chosen, format: rows}}
"""


class Forks:
    """Runs started in milliseconds from one warm process."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("forking_runs.py")
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "RAY_DISABLE_IMPORT_WARNING": "1"},
        )

    def run(
        self, file: Path, directory: Path, address: str = "", kill_after: float | None = None
    ) -> tuple[int, float]:
        """(exit code, seconds). ``kill_after``: SIGKILL that many seconds after the start."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        started = time.monotonic()
        self.process.stdin.write(f"{file}\t{directory}\t{address}\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        timer = None
        if kill_after is not None:
            timer = threading.Timer(kill_after, os.kill, (pid, signal.SIGKILL))
            timer.start()
        code = int(self.process.stdout.readline())
        if timer is not None:
            timer.cancel()
        return code, time.monotonic() - started

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def write(folder: Path) -> tuple[Path, Path]:
    """(the pipeline file, the engine's log of requests). All runs share the source's path."""
    source = folder.parent / "prompts.jsonl"
    if not source.exists():
        subjects = ["bread", "rivers", "winter", "engines"]
        lines = [json.dumps({"prompt": f"Tell me fact {n} about {subjects[n % 4]}."}) for n in range(ROWS)]
        source.write_text("\n".join(lines) + "\n")
    folder.mkdir()
    file, log = folder / "killed.yaml", folder / "requests.log"
    file.write_text(PIPELINE.format(log=log, source=source, samples=SAMPLES))
    return file, log


def parts(run: Path) -> dict[str, bytes]:
    """Every committed part and every exported file, by its path in the run."""
    files = [*run.glob("steps/*/part-*.parquet"), *run.glob("exports/**/*.parquet")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def requested(log: Path) -> Counter[str]:
    return Counter(log.read_text().split()) if log.exists() else Counter()


def check(kills_wanted: int, seed: int, forks: Forks, folder: Path, address: str = "") -> None:
    """Kill runs at random instants until ``kills_wanted`` died; each must end as the clean one did."""
    instants = random.Random(seed)
    file, log = write(folder / "first")
    assert forks.run(file, folder / "first" / "run", address)[0] == 0
    # The second run says how long a run takes once files and workers are warm: kills fall within it.
    file, log = write(folder / "clean")
    code, seconds = forks.run(file, folder / "clean" / "run", address)
    assert code == 0
    assert parts(folder / "clean" / "run") == parts(folder / "first" / "run")
    clean, clean_log = parts(folder / "clean" / "run"), requested(log)
    assert clean
    assert set(clean_log.values()) == {1}
    kills = trial = 0
    while kills < kills_wanted:
        file, log = write(folder / f"trial{trial}")
        run, died = folder / f"trial{trial}" / "run", 0
        while True:
            code, _ = forks.run(file, run, address, kill_after=instants.uniform(0, seconds * 1.1))
            if code != -signal.SIGKILL:
                break
            died += 1
            if died >= 8:
                code, _ = forks.run(file, run, address)
                break
        assert code == 0, f"trial {trial}: the run ended with {code}"
        assert parts(run) == clean, f"trial {trial}: not the rows of an uninterrupted run"
        paid = requested(log)
        assert set(paid) == set(clean_log), f"trial {trial}: other requests than an uninterrupted run's"
        in_flight = 2 * BATCH * SAMPLES + 32  # the engine's sequences half as many again, and one batch
        again = sum(paid.values()) - len(paid)
        assert again <= died * in_flight, f"trial {trial}: {again} requests paid again after {died} kills"
        kills, trial = kills + died, trial + 1


def test_a_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    def half(seed: int) -> None:
        (tmp_path / str(seed)).mkdir()
        with closing(Forks()) as warm:
            check(46, seed, warm, tmp_path / str(seed))

    # Two at a time: a run waits for its engine most of the time.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(half, (17, 19)))


@pytest.mark.ray
def test_killed_drivers_on_ray_lose_and_double_nothing(tmp_path: Path, cluster: str) -> None:
    # A run joins the cluster anew each time, which takes ten times what the run itself does.
    with closing(Forks()) as warm:
        check(8, 18, warm, tmp_path, address=cluster)
