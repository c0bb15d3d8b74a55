"""What the trainer's methods are worth: all on the same rows and tokens, with seeds repeated, in one table.

    .venv/bin/python benchmarks/methods.py [--quick] [--only NAME …] [--seeds 3] [--beside N] [--minutes M]

SmolLM2-135M-Instruct learns to follow constraints that a program checks, from its own answers that passed
(``methods_rows.yaml``). Preferences learn from the passed and the failed answers to the same prompts. After
training, the student is measured as it is served: the share of held-out items whose greedy answer satisfies
all its constraints; the loss (nats) on passed answers to other prompts; and how much the loss on English
prose rose, which is forgetting. Learning rates are per kind of trained value and not tuned by method
(``methods_settings.py``).

Each training is a process of its own; with ``--beside 2``, two of them share the cores, each with half of the
threads. Finished ones are kept in ``results/methods.json`` and not repeated while rows, settings and versions
are the same, so that the table can be made in several runs, also on several machines: the rows are kept in
``results/methods_rows.json``. Delete both files to begin anew.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

from forgetting import prose
from measuring import RESULTS, machine, run_case, this_python, versions
from methods_settings import METHODS, PLAIN, Method
from methods_table import shown

HERE = Path(__file__).parent
FOLDER = HERE / ".methods"
#: Timeout of a case in seconds, generous for busy machines.
LIMIT = 3600
#: Rows to train on, rows of the task loss, and pieces of prose.
SIZES, QUICK = (128, 32, 12), (16, 8, 2)
#: Methods of ``--quick``.
FEW = (PLAIN, "full")
SHARED = {
    "train": "sft",
    "quantize": "none",
    "dtype": "bf16",
    "adapter": {"kind": "lora", "rank": 16, "alpha": 32},
    "epochs": 20,
    "batch_tokens": 512,
    "pack_tokens": 512,
    "max_length": 512,
    "warmup_ratio": 0.1,
    "checkpoint_every": 10_000,
}


def rows_of(folder: Path, quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Make the answers with the base model, once, and split them by prompt."""
    import gristmill

    given = ["vars.prompts=48", "vars.items=24"] if quick else []
    run = gristmill.run(HERE / "methods_rows.yaml", run=folder / "run", overrides=given)
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in run["clean"].to_arrow().to_pylist():
        by_prompt.setdefault(row["prompt"], []).append(row)
    prompts = sorted(by_prompt)
    random.Random(17).shuffle(prompts)
    train, held, _ = QUICK if quick else SIZES
    found: dict[str, list[dict[str, Any]]] = {"held": [], "passed": [], "pairs": [], "judged": []}
    for prompt in prompts:
        passed = [row for row in by_prompt[prompt] if row["passed"]]
        failed = [row for row in by_prompt[prompt] if not row["passed"]]
        if not passed:
            continue
        kept = {"prompt": prompt, "response": passed[0]["response"], "task": passed[0]["kinds"][0]}
        if len(found["held"]) < held:
            found["held"].append(kept)
            continue
        if len(found["passed"]) < train:
            found["passed"].append(kept)
            found["judged"] += [{**kept, "passed": True}]
            if failed:
                worse = failed[0]["response"]
                found["pairs"].append({"prompt": prompt, "chosen": kept["response"], "rejected": worse})
                found["judged"].append({"prompt": prompt, "response": worse, "passed": False})
    found["items"] = run["items"].to_arrow().select(["prompt", "constraints"]).to_pylist()
    return found


def prepare(folder: Path, quick: bool) -> str:
    """Write the rows of all methods; return their digest."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = RESULTS / "methods_rows.json"
    if quick or not kept.exists():
        found = rows_of(folder, quick)
        if not quick:
            kept.write_text(json.dumps(found, indent=1) + "\n")
    else:
        found = json.loads(kept.read_text())
    written = {f"{name}.jsonl": _lines(rows) for name, rows in found.items()}
    written["prose.txt"] = prose()
    written["plan.json"] = json.dumps({"windows": (QUICK if quick else SIZES)[2]})
    for name, text in written.items():
        (folder / name).write_text(text)
    return blake2b(json.dumps(written, sort_keys=True).encode(), digest_size=8).hexdigest()


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def settings_of(method: Method, folder: Path, steps: int, seed: int) -> dict[str, Any]:
    """Return the training file of a method, without the model and the directory of the run."""
    from gristmill.trainer.adapters.adapter_names import USED_BY

    adapter = {**SHARED["adapter"], **method.changes.get("adapter", {})}  # type: ignore[dict-item]
    for name in ("rank", "alpha"):
        if adapter["kind"] not in USED_BY[name]:
            del adapter[name]
    told = {**SHARED, **method.changes, "adapter": adapter, "learning_rate": method.rate}
    return {**told, "data": str(folder / f"{method.rows}.jsonl"), "max_steps": steps, "seed": seed}


def read(path: Path, same: dict[str, Any]) -> dict[str, Any]:
    """Return the results so far, if they are of the same rows and versions."""
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if all(found.get(name) == value for name, value in same.items()):
            return found
    return {"machine": machine(), **same, "base": None, "runs": []}


class Table:
    """The results so far, and the file that keeps them."""

    def __init__(self, path: Path, folder: Path, same: dict[str, Any], threads: int) -> None:
        self.path, self.folder, self.threads = path, folder, threads
        self.results = read(path, same)
        self.failed: list[str] = []
        self._lock = threading.Lock()
        if self.results["base"] is None:
            self.results["base"] = self._case()

    def _case(self, *settings: str) -> dict[str, Any]:
        command = this_python(str(HERE / "methods_case.py"), str(self.folder), *settings)
        command = ["env", f"OMP_NUM_THREADS={self.threads}", *command]
        return run_case(command, LIMIT, memory=False).answer  # a case tells its own peak

    def add(self, name: str, steps: int, seed: int) -> None:
        """Train and measure a method, unless that is done."""
        settings = settings_of(METHODS[name], self.folder, steps, seed)
        identity = json.dumps({**settings, "data": METHODS[name].rows}, sort_keys=True)
        if any(run["settings"] == identity for run in self.results["runs"]):
            return
        try:
            told = {"method": name, **self._case(json.dumps(settings)), "settings": identity}
        except RuntimeError as error:  # the other methods go on
            self.failed.append(name)
            print(f"{name}, seed {seed}: {error}", flush=True)
            return
        # Above the number of cores, the seconds are those of a busy machine.
        told |= {"threads": self.threads, "load_average": round(os.getloadavg()[0], 1)}
        with self._lock:
            self.results["runs"] = [*self.results["runs"], told]
            self.results["date"] = time.strftime("%Y-%m-%d")
            self.path.write_text(json.dumps(self.results, indent=1) + "\n")
        print(
            f"{name}, seed {seed}: {statistics.fmean(told['passed']):.3f}, task loss "
            f"{told['task_loss']:.3f}, {told['seconds']:.0f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two methods, few rows; writes no results")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=METHODS, help="these methods")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each method")
    parser.add_argument("--steps", type=int, default=32, help="optimizer steps of 512 tokens")
    parser.add_argument("--beside", type=int, default=1, help="trainings at a time")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no training after these")
    args = parser.parse_args()
    began, steps = time.monotonic(), 6 if args.quick else args.steps
    names = args.only or (FEW if args.quick else METHODS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if args.quick else FOLDER
        same = {"rows": prepare(folder, args.quick), "versions": versions("torch"), "steps": steps}
        path = folder / "methods.json" if args.quick else RESULTS / "methods.json"
        table = Table(path, folder, same, max(1, (os.cpu_count() or 1) // args.beside))

        def add(name: str, seed: int) -> None:
            if time.monotonic() - began <= 60 * args.minutes:
                table.add(name, steps, seed)

        with ThreadPoolExecutor(args.beside) as pool:
            seeds = range(17, 18 if args.quick else 17 + args.seeds)
            for done in [pool.submit(add, name, seed) for seed in seeds for name in names]:
                done.result()
        print(shown(table.results["runs"], table.results["base"]))
        if table.failed:
            sys.exit(f"failed: {', '.join(dict.fromkeys(table.failed))}")


if __name__ == "__main__":
    sys.exit(main())
