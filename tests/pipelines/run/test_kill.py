"""A run that is killed at any time ends with exactly the rows of an uninterrupted one."""

from __future__ import annotations

import json
import random
import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from kill_campaign import campaign
from killing import ENGINE, RUN, SANDBOX, Forks, parts

ROWS, SAMPLES = 96, 2
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


def requested(log: Path) -> Counter[str]:
    return Counter(log.read_text().split()) if log.exists() else Counter()


def committed(run: Path) -> set[str]:
    """The rows about which a model was asked and whose answers are in a committed part."""
    answers = [*run.glob("steps/answers-*/part-*.parquet"), *run.glob("steps/again-*/part-*.parquet")]
    tables = [pq.read_table(path, columns=["_parents"]) for path in answers]
    return {name for table in tables for names in table["_parents"].to_pylist() for name in names}


def check(kills_wanted: int, seed: int, forks: Forks, folder: Path, address: str = "") -> None:
    """Kill runs at random times until ``kills_wanted`` died; each must end like the clean one."""
    instants = random.Random(seed)
    file, log = write(folder / "first")
    assert forks.run(file, folder / "first" / "run", address)[0] == 0
    # The second run measures the duration with warm files and workers: kills happen within it.
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
        code = -signal.SIGKILL
        while code == -signal.SIGKILL:
            done, before = committed(run), requested(log)
            kill_after = instants.uniform(0, seconds * 1.1) if died < 8 else None
            code, _ = forks.run(file, run, address, kill_after=kill_after)
            died += code == -signal.SIGKILL
            asked = {name.partition(":")[0] for name in requested(log) - before}
            assert not asked & done, f"trial {trial}: paid again after its commit, after {died} kills"
        assert code == 0, f"trial {trial}: the run ended with {code}"
        assert parts(run) == clean, f"trial {trial}: not the rows of an uninterrupted run"
        paid = requested(log)
        assert set(paid) == set(clean_log), f"trial {trial}: other requests than an uninterrupted run's"
        kills, trial = kills + died, trial + 1


def test_a_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    def half(seed: int) -> None:
        (tmp_path / str(seed)).mkdir()
        with closing(Forks()) as warm:
            check(46, seed, warm, tmp_path / str(seed))

    # Two at a time: a run waits for its engine most of the time.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(half, (17, 19)))


def test_killed_in_one_of_its_processes_a_run_has_the_same_rows_and_no_wrong_verdict(tmp_path: Path) -> None:
    found = campaign(tmp_path, kills=8, seed=23, problems=16)
    assert found.different == []
    assert found.killed.total() >= 8
    assert {RUN, ENGINE} <= set(found.killed)
    assert len(set(found.killed) & set(SANDBOX)) >= 2


@pytest.mark.ray
def test_killed_drivers_on_ray_lose_and_double_nothing(tmp_path: Path, cluster: str) -> None:
    # Each run connects to the cluster again, which takes ten times as long as the run itself.
    with closing(Forks()) as warm:
        check(8, 18, warm, tmp_path, address=cluster)
