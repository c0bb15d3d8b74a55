"""Two processes that train together over gloo; started by ``test_loop.py``.

Argument: a directory with ``model``, ``rows.json`` and ``settings.json``, which holds the step of each run.
The history of each run is written there. Then the run "many" is stopped after two steps and resumed.
``digests.json`` holds a digest of what every run wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from torch import distributed

from gristmill.contracts.errors import GristmillError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.methods.sft import SupervisedFineTuning

folder = Path(sys.argv[1])
# After the libraries are loaded, which takes longer than all the training.
child = os.fork()
rank = 1 if child == 0 else 0


class Stopped(Exception):
    pass


@dataclass
class Bench:
    workdir: Path
    stop_at: int | None = None
    seed: int = 17
    step: str = "student"

    def weights(self, name: str) -> ModelWeights:
        return ModelWeights(name, folder / "model", "digest", None)

    def progress(self, *_: object, **__: float) -> None:
        return None

    def check(self) -> None:
        # Only the second process is asked to stop, but both must stop.
        if self.stop_at is not None and rank == 1:
            self.stop_at -= 1
            if self.stop_at < 0:
                raise Stopped


def digest(workdir: Path) -> str:
    return hashlib.sha256((workdir / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
rows = pa.Table.from_pylist(json.loads((folder / "rows.json").read_text()))
steps = {
    name: SupervisedFineTuning.model_validate(given)
    for name, given in json.loads((folder / "settings.json").read_text()).items()
}
for name, step in steps.items():
    history = step.fit(rows, Bench(folder / name)).history  # type: ignore[arg-type]
    if rank == 0:
        (folder / f"{name}.json").write_text(json.dumps(history.to_pydict()))
expected, words = (Stopped, "") if rank == 1 else (GristmillError, "another process of this training")
with pytest.raises(expected, match=words):
    steps["many"].fit(rows, Bench(folder / "stopped", stop_at=2))  # type: ignore[arg-type]
steps["many"].fit(rows, Bench(folder / "stopped"))  # type: ignore[arg-type]
if rank == 0:
    digests = {name: digest(folder / name) for name in [*steps, "stopped"]}
    (folder / "digests.json").write_text(json.dumps(digests))
distributed.destroy_process_group()
if rank == 0:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
