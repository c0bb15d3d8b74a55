"""Processes that train together over gloo; started by ``test_processes.py``.

Arguments: a directory with the models, ``rows.json``, ``pairs.json`` (of ``train: reward``), ``other.json``
(the held-out rows) and ``settings.json``, which holds the step of each run; the number of processes; and the
runs, each as NAME or NAME=STOP: after so many steps, the last process is told to stop. A run that has a
checkpoint is resumed. The history of each is written to ``NAME-SIZE.json``.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from torch import distributed

from gristmill.contracts.errors import GristmillError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.methods.reward import RewardModelling
from gristmill.trainer.methods.sft import SupervisedFineTuning

folder, size = Path(sys.argv[1]), int(sys.argv[2])


class Stopped(Exception):
    pass


@dataclass
class Bench:
    workdir: Path
    stop_at: int | None = None
    seed: int = 17
    step: str = "student"

    def weights(self, name: str) -> ModelWeights:
        return ModelWeights(name, folder / name, "digest", None)

    def table(self, name: str) -> pa.Table:
        return other

    def progress(self, *_: object, **__: float) -> None:
        return None

    def check(self) -> None:
        # Only the last process is asked to stop, but all must stop.
        if self.stop_at is not None and rank == size - 1:
            self.stop_at -= 1
            if self.stop_at < 0:
                raise Stopped


def train(run: str) -> None:
    name, _, stop = run.partition("=")
    judges = settings[name]["judges"]
    method, table = (RewardModelling, pairs) if judges else (SupervisedFineTuning, rows)
    step = method.model_validate(settings[name]["step"])
    if stop:
        expected, words = (Stopped, None) if rank == size - 1 else (GristmillError, "another process of this")
        with pytest.raises(expected, match=words):
            step.fit(table, Bench(folder / name, int(stop)))  # type: ignore[arg-type]
        return
    made = step.fit(table, Bench(folder / name))  # type: ignore[arg-type]
    if rank == 0:
        found = {"history": made.history.to_pydict(), "metrics": made.metrics}
        (folder / f"{name}-{size}.json").write_text(json.dumps(found, default=str))


def train_all() -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting-{size}", rank=rank, world_size=size
    )
    for run in sys.argv[3:]:
        train(run)
    distributed.destroy_process_group()


rows, pairs, other = (
    pa.Table.from_pylist(json.loads((folder / f"{name}.json").read_text()))
    for name in ("rows", "pairs", "other")
)
settings = json.loads((folder / "settings.json").read_text())
# After the libraries are loaded, which takes longer than all the training.
rank, children = 0, []
for number in range(1, size):
    if (child := os.fork()) == 0:
        rank = number
        # A fork leaves without the destructors of its parent's threads, which abort where there are none.
        code = 1
        try:
            train_all()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    children.append(child)
train_all()
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
