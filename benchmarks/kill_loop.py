"""Loops that are killed in each of their phases come to the verdicts of an undisturbed loop.

    python -P benchmarks/kill_loop.py [--kills 100] [--quick] [--seed 1]

A loop of two rounds over a tiny random model really samples, filters, trains, evaluates and decides. In each
phase in turn the process kills itself (SIGKILL) at a random event of it, and is started again, until the
kills are done and the last loop has ended. Each loop must then have the rows, the weights, the verdicts and
the records of rounds of an undisturbed one, byte for byte (but for the times and memory that a training
measures), and no row that was generated twice. The exit code is 1 if anything differs.

The phases are: generating, filtering (with the selection), training (also between two optimizer steps, whose
checkpoint it goes on from), evaluating, and deciding (before and after each of the files that end a round).
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import gristmill
from gristmill.pipelines.run import loop as round_loop
from gristmill.pipelines.run.events import Event, PartDone, RoundDone, StepDone, StepProgress, StepStarted
from gristmill.pipelines.store.run_directory import RunDirectory

sys.path.append(str(Path(__file__).parent))
import warm_modules
from killing import parts
from measuring import versions, write
from tampering import tiny_model

QUICK = 10
#: Imports most of what the model's engine and its training need. Taking many seconds, it is paid once, before
#: the first fork.
HEAVY = "transformers.models.llama.modeling_llama"
#: Phase -> the steps of the loop that make it; none for deciding.
PHASES = {
    "generating": ("answers",),
    "filtering": ("ended", "unique", "chosen"),
    "training": ("student",),
    "evaluating": ("verdict",),
    "deciding": (),
}
#: The figures of a training that are times and memory. No two trainings agree on them.
MEASURED = {
    "matmul_tflops", "peak_memory_mib", "predicted_memory_mib", "roofline", "seconds", "tokens_per_s",
    "trained_tokens_per_s", "wall_seconds",
}  # fmt: skip
PIPELINE = """
gristmill: 1
name: killed-loop
seed: 5
models:
  base:    {{engine: transformers, path: "{model}", dtype: float32}}
  sampler: {{engine: transformers, path: "{model}", dtype: float32}}
steps:
  prompts: {{source: constraints, split: train, rows: 8, max_constraints: 1}}
  evals:   {{source: constraints, split: eval, rows: 4, seed: 1}}
  answers: {{generate: respond, from: prompts, model: sampler, max_tokens: 6}}
  ended:   {{compute: {{finish: "'stop'"}}, from: answers}}
  unique:  {{dedup: exact, from: ended}}
  chosen:  {{select: random, rows: 6, from: unique}}
  student: {{train: sft, from: chosen, model: base, epochs: 2, batch_rows: 2, checkpoint_every: 1,
             adapter: {{kind: lora, rank: 2}}, dtype: fp32}}
  verdict: {{evaluate: constraints, tasks: evals, model: student, against: sampler, max_tokens: 6}}
  dataset: {{export: jsonl, from: chosen}}
loop: {{rounds: 2, promote: {{student: sampler}}, when: "verdict.n > 0"}}
"""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Assassin:
    """Kills its own process at the ``wanted``-th event of a phase that happens; 0 for never."""

    def __init__(self, phase: str, wanted: int) -> None:
        self.phase, self.left = phase, wanted

    def on(self, event: Event) -> None:
        of_step = (
            isinstance(event, (StepStarted, StepProgress, PartDone, StepDone))
            and event.step in PHASES[self.phase]
        )
        if of_step or (isinstance(event, RoundDone) and self.phase == "deciding"):
            self.strike()

    def strike(self) -> None:
        self.left -= 1
        if self.left == 0:
            die()

    def watch_decisions(self) -> None:
        """Strike before and after the writing of a record and of a result."""
        for owner, name in ((round_loop, "record_round"), (RunDirectory, "write_result")):
            setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, write: Any) -> Any:
        def watched(*arguments: Any) -> Any:
            self.strike()
            made = write(*arguments)
            self.strike()
            return made

        return watched


def run(
    file: Path, into: Path, phase: str = "generating", wanted: int = 0, imported: Path | None = None
) -> int:
    """Run the loop in a fork of this process; return its exit code, negative if it was killed.

    ``imported``: where to list the modules that the run needed.
    """
    pid = os.fork()
    if pid == 0:
        code = 70
        # A loop collects garbage whenever it closes an engine. Going through what this process has imported
        # took two thirds of a fork's time.
        gc.freeze()
        try:
            assassin = Assassin(phase, wanted)
            if phase == "deciding":
                assassin.watch_decisions()
            gristmill.run(file, into, observer=assassin)
            if imported is not None:
                warm_modules.tell(imported)
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def state(path: Path) -> dict[str, Any]:
    """All that a loop made: rows, weights, verdicts, the ids of its records, and the tokens that it paid."""
    directory = RunDirectory.open(path)
    weights = {str(file.relative_to(path)): file.read_bytes()
               for file in sorted(path.glob("steps/*/model/adapter_model.safetensors"))}  # fmt: skip
    trainings = {str(part.relative_to(path)): training(part) for part in path.glob("steps/student-*/part-*")}
    verdicts = {}
    for each in directory.rounds():
        result = each.result or {}
        verdicts[f"round {each.number}"] = {
            **{name: result.get(name) for name in ("decision", "record")},
            "metrics": {step: unmeasured(figures) for step, figures in result.get("metrics", {}).items()},
        }
    usage, rows = directory.spent()
    paid = {"rows": rows, "completion_tokens": usage.completion_tokens}
    records = sorted(file.name for file in (path / "records").glob("*.json"))
    return {**parts(path), **weights, **trainings, **verdicts, "paid": paid, "records": records}


def training(part: Path) -> dict[str, Any]:
    """What a student's part holds and names: its rows, counts, figures, files and history, without times."""
    footer = json.loads(pq.read_metadata(part).metadata[b"gristmill"])
    del footer["digest of this file"]
    footer["summary"] = unmeasured(footer["summary"])
    footer["products"] = [
        each for each in footer["products"] if not each["path"].endswith("/history.parquet")
    ]
    history = pq.read_table(part.with_name("history.parquet")).drop_columns(["seconds"])
    return {"rows": pq.read_table(part).to_pylist(), "history": history.to_pylist(), **footer}


def unmeasured(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figure for name, figure in figures.items() if name not in MEASURED}


def campaign(
    folder: Path, file: Path, kills: int, seed: int, phases: Sequence[str] = tuple(PHASES)
) -> tuple[Counter[str], int, list[str]]:
    """Kill loops of ``file`` ``kills`` times, in each phase in turn.

    Returns (kills by phase, loops, differences).
    """
    instants, killed, different, loops = random.Random(seed), Counter[str](), list[str](), 0
    into = folder / "loop"  # each in the same place, because metrics name files
    if run(file, into, imported=folder / "imported") != 0:
        raise RuntimeError("the undisturbed loop failed")
    warm_modules.load(folder / "imported")
    clean = state(into)
    shutil.rmtree(into)
    while killed.total() < kills:
        code = -1
        for phase in phases:
            if killed.total() >= kills:
                break
            code = run(file, into, phase, instants.randint(1, 4))
            killed[phase] += code == -signal.SIGKILL
            if code not in (0, -signal.SIGKILL):
                different.append(f"loop {loops}: ended with {code} in {phase}")
        if code != 0 and (code := run(file, into)) != 0:
            different.append(f"loop {loops}: ended with {code}")
        made = state(into)
        names = sorted({*clean, *made})
        different += [f"loop {loops}: {name}" for name in names if clean.get(name) != made.get(name)]
        loops += 1
        shutil.rmtree(into)
        print(f"{killed.total()} kills in {loops} loops, differences: {different or 'none'}", flush=True)
    return killed, loops, different


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} kills, and no file of results")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    started = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"  # a tiny model gains nothing from threads that wait for each other
    importlib.import_module(HEAVY)
    with tempfile.TemporaryDirectory(prefix="gristmill-kill-loop-") as folder:
        file = Path(folder) / "loop.yaml"
        file.write_text(PIPELINE.format(model=tiny_model(Path(folder) / "tiny")))
        kills = QUICK if args.quick else args.kills
        killed, loops, different = campaign(Path(folder), file, kills, args.seed)
    for phase in PHASES:
        print(f"{killed[phase]:>5}  {phase}")
    seconds = round(time.monotonic() - started)
    print(f"{killed.total()} kills in {loops} loops, {seconds} s")
    if not args.quick:
        more = {"killed": dict(killed), "loops": loops, "seed": args.seed, "seconds": seconds}
        more["different"] = different
        write("kill_loop", [], versions("torch", "transformers", "pyarrow"), more)
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
