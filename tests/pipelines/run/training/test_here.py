"""Where a step trains: under ``torchrun`` in all processes, except a merge."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.training import Trained
from gristmill.pipelines.run.training import here
from gristmill.trainer.merging.merge_step import MergeStep
from gristmill.trainer.methods.sft import SupervisedFineTuning

ROWS = pa.Table.from_pylist([])


@pytest.mark.parametrize(
    ("step", "where"),
    [
        (MergeStep(model="base", students=("left",)), "alone"),
        (SupervisedFineTuning(model="base", device="cpu"), "together"),
    ],
)
def test_torchruns_processes_train_together_and_its_first_merges(
    step: Any, where: str, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    result = Trained(context.workdir, {}, ROWS)

    def carry_out(name: str) -> Any:
        return lambda *_: done.append(name) or result

    monkeypatch.setattr(here, "started_several", lambda: True)
    monkeypatch.setattr(here, "lead", carry_out("together"))
    monkeypatch.setattr(here.TrainingJob, "of", lambda *_: None)
    monkeypatch.setattr(type(step), "fit", carry_out("alone"))
    assert here.train_here(step, ROWS, context, pytest.fail) is result
    assert done == [where]
