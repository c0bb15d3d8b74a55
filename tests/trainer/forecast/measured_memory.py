"""Train with several settings, each in a separate process, and print the memory used.

Started by ``test_memory.py``. Argument: a directory with ``model`` and ``steps.json``, a list of steps.
Prints, for each, MiB measured and predicted in addition to what the process held before.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import torch.distributed  # noqa: F401 (all libraries are in memory before anything is measured)
import transformers

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer import fit
from gristmill.trainer.methods.sft import SupervisedFineTuning

folder = Path(sys.argv[1])
transformers.AutoTokenizer.from_pretrained(folder / "model")


class Bench:
    seed, step = 17, "student"

    def __init__(self) -> None:
        self.workdir = Path(tempfile.mkdtemp(dir=folder))

    def weights(self, name: str) -> ModelWeights:
        return ModelWeights(name, folder / "model", "digest", None)

    def progress(self, *_: object, **__: float) -> None:
        return None

    def check(self) -> None:
        return None


def main(given: dict[str, object]) -> None:
    rows = [
        {"_id": f"{n}", "prompt": "Tell me of the mill. " * 4, "response": "It grinds barley. " * (8 + n % 4)}
        for n in range(5)
    ]
    step = SupervisedFineTuning.model_validate(given)
    metrics = fit.fit(step, pa.Table.from_pylist(rows), Bench()).metrics  # type: ignore[arg-type]
    before = metrics["predicted_memory_mib"] - sum(metrics["memory_plan_mib"].values())
    measured, predicted = metrics["peak_memory_mib"] - before, metrics["predicted_memory_mib"] - before
    print(
        json.dumps({"measured": measured, "predicted": predicted, "plan": metrics["memory_plan_mib"]}),
        flush=True,
    )


for given in json.loads((folder / "steps.json").read_text()):
    child = os.fork()
    if child == 0:
        main(given)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
