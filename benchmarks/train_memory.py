"""The memory plan of a training against what it takes, on five long runs of SmolLM2-135M on a CPU.

    .venv/bin/python benchmarks/train_memory.py [--steps 40] [--only NAME]

Each run is a fresh process: rows of many lengths, so that the sizes of packs and sequences rarely repeat, and
a checkpoint every 20 steps. Planned and measured are the peak memory of the process, in MiB; ``late`` is by
how much the peak grew after the first quarter of the steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from measuring import Figure, run_case, versions, write
from train_cpu import write_rows

#: Settings that the constants of the plan were not fitted to; see ``trainer/forecast/memory_plan.py``.
RUNS: dict[str, dict[str, Any]] = {
    "nf4, LoRA": {"quantize": "nf4", "adapter": {"rank": 16}, "batch_tokens": 1024},
    "bf16, LoRA on q and v": {
        "quantize": "none", "adapter": {"rank": 8, "targets": ["q_proj", "v_proj"]}, "pack_tokens": 512,
        "batch_tokens": 1024, "max_length": 512,
    },
    "int8, DoRA, recomputed": {
        "quantize": "int8", "adapter": {"kind": "dora", "rank": 16}, "activations": "recompute",
        "pack_tokens": 2048, "batch_tokens": 2048,
    },
    "fp32, LoRA": {
        "quantize": "none", "dtype": "fp32", "adapter": {"rank": 32}, "batch_tokens": 768, "pack_tokens": 768,
    },
    "bf16, all weights, lion": {
        "quantize": "none", "adapter": {"kind": "delta"}, "optimizer": "lion", "batch_tokens": 768,
        "pack_tokens": 768,
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps of each run")
    parser.add_argument("--only", choices=RUNS, help="one of the runs; writes no results")
    parser.add_argument("--train", nargs=2, metavar=("MODEL", "ROWS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(RUNS[given.only], *given.train, given.steps)
    else:
        measure(given.steps, [given.only] if given.only else list(RUNS), keep=not given.only)


def measure(steps: int, names: list[str], *, keep: bool) -> None:
    from gristmill.pipelines.weights import resolve

    model = str(resolve("smollm2-135m-instruct").path)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        write_rows(rows, 240)
        for name in names:
            case = ["--only", name, "--steps", str(steps), "--train", model, str(rows)]
            found[name] = run_case([sys.executable, __file__, *case], timeout=3000).answer
            print(name, found[name], flush=True)
    if keep:
        figures = [
            Figure(name, "MiB", each["planned"], each["measured"], "measured", "",
                   each["planned"] / each["measured"], "0.9 to 1.1")
            for name, each in found.items()
        ]  # fmt: skip
        write("train_memory", figures, versions("torch"), {"steps": steps, "runs": found})


def train(settings: dict[str, Any], model: str, rows: str, steps: int) -> None:
    from train_cpu_ours import Alone

    from gristmill.trainer.forecast.memory_plan import MIB
    from gristmill.trainer.forecast.process_memory import resident_peak
    from gristmill.trainer.methods.sft import SupervisedFineTuning

    step = SupervisedFineTuning.model_validate(
        {
            "model": "base",
            "dtype": "bf16",
            "epochs": 9,
            "max_steps": steps,
            "checkpoint_every": 20,
            **settings,
        }
    )
    read = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    table = pa.Table.from_pylist(
        [
            {"_id": f"{n}", "prompt": row["prompt"], "response": row["completion"]}
            for n, row in enumerate(read)
        ]
    )
    early = []

    class Watched(Alone):
        def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
            super().progress(done, total, unit, **figures)
            if done == steps // 4:
                early.append(resident_peak())

    with tempfile.TemporaryDirectory() as out:
        metrics = step.fit(table, Watched(model, Path(out))).metrics
    answer = {
        "planned": metrics["predicted_memory_mib"],
        "measured": metrics["peak_memory_mib"],
        "late": metrics["peak_memory_mib"] - early[0] // MIB,
        "plan": metrics["memory_plan_mib"],
        "before": metrics["predicted_memory_mib"] - sum(metrics["memory_plan_mib"].values()),
        "tokens_per_s": metrics["tokens_per_s"],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    sys.exit(main())
