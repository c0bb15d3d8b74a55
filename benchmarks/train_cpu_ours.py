"""One run of ours for ``train_cpu.py``: BASE MODEL ROWS WARM_UP [--profile].

``--profile``: print the time per operation instead of the figures.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import torch

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.methods.sft import SupervisedFineTuning


class Alone:
    """The context that a training step requires."""

    seed, step = 17, "train"

    def __init__(self, model: str, workdir: Path) -> None:
        self.workdir, self._weights = workdir, ModelWeights("base", Path(model), "", None)
        self.speeds: list[float] = []

    def weights(self, name: str) -> ModelWeights:
        return self._weights

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        if "tokens_per_s" in figures:  # not in the first report, which states the planned memory
            self.speeds.append(figures["tokens_per_s"])

    def check(self) -> None: ...


def main(base: str, model: str, rows: str, warm_up: int, *, profile: bool) -> None:
    step = SupervisedFineTuning.model_validate(
        {
            "model": "base",
            "dtype": "bf16",
            "quantize": "nf4" if base == "nf4" else "none",
            "adapter": {"rank": 16, "alpha": 32},
            "batch_rows": 4,
            "learning_rate": 2e-4,
            "schedule": "constant",
            "warmup_ratio": 0.0,
            "max_length": 512,
            "checkpoint_every": 1000,
        }
    )
    read = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    table = pa.Table.from_pylist(
        [
            {"_id": f"{n}", "prompt": row["prompt"], "response": row["completion"]}
            for n, row in enumerate(read)
        ]
    )
    with tempfile.TemporaryDirectory() as out:
        context = Alone(model, Path(out))
        with torch.profiler.profile() if profile else nullcontext() as seen:
            trained = step.fit(table, context)
    if seen is not None:
        print(
            seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40)
        )
        return
    history = trained.history.to_pydict()
    seen = [speed * seconds for speed, seconds in zip(context.speeds, history["seconds"])]
    seconds, tokens = sum(history["seconds"][warm_up:]), sum(history["tokens"][warm_up:])
    answer = {
        "tokens_per_s": sum(seen[warm_up:]) / seconds,
        "trained_tokens_per_s": tokens / seconds,
        "step_s": seconds / len(history["seconds"][warm_up:]),
        "tokens": trained.metrics["tokens"],
        "trained_tokens": trained.metrics["trained_tokens"],
        "mean_loss": sum(history["loss"]) / len(history["loss"]),
        "planned_mib": trained.metrics["predicted_memory_mib"],
        "measured_mib": trained.metrics["peak_memory_mib"],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), profile="--profile" in sys.argv)
