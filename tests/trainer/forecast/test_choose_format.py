"""The dtype of a training that names none: by the machine, and the same when it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from gristmill.contracts import number_formats
from gristmill.trainer.adapters.training_record import TrainingRecord
from gristmill.trainer.forecast.choose_format import with_format
from gristmill.trainer.merging.cycle_qd import CycleQD
from gristmill.trainer.merging.greedy_soup import GreedySoup
from gristmill.trainer.methods.sft import SupervisedFineTuning

pytestmark = pytest.mark.light


def _step(**changes: Any) -> SupervisedFineTuning:
    return SupervisedFineTuning.model_validate({"model": "base", "device": "cpu", **changes})


@pytest.mark.parametrize(
    ("asked", "fast", "computed"),
    [
        ({}, True, "bf16"),
        ({}, False, "fp32"),
        ({"dtype": "bf16"}, False, "bf16"),
        ({"dtype": "fp32"}, True, "fp32"),
    ],
)
def test_it_is_what_was_asked_for_or_what_the_machine_is_fast_in(
    asked: dict[str, str], fast: bool, computed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_formats, "fast_bfloat16", lambda: fast)
    step = _step(**asked)
    assert step.number_format() == computed
    assert step.torch_dtype() == {"bf16": torch.bfloat16, "fp32": torch.float32}[computed]
    assert with_format(step, tmp_path / "format.json").dtype == computed


def test_a_training_that_goes_on_elsewhere_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "format.json"
    for fast in (False, True):  # the second machine would take bf16
        monkeypatch.setattr(number_formats, "fast_bfloat16", lambda fast=fast: fast)
        assert with_format(_step(), kept).dtype == "fp32"


@pytest.mark.parametrize("kind", [CycleQD, GreedySoup])
def test_a_merge_measures_in_it_too_and_keeps_it(
    kind: Any, stopping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merging, context = kind(model="base", students=("a", "b"), device="cpu"), stopping(tmp_path, tmp_path)
    for fast in (False, True):
        monkeypatch.setattr(number_formats, "fast_bfloat16", lambda fast=fast: fast)
        assert merging.measured(context).dtype == "fp32"


@pytest.mark.parametrize(("fast", "computed"), [(False, "fp32"), (True, "bf16")])
def test_what_was_trained_says_it(
    fast: bool, computed: str, make_model, stopping, rows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(number_formats, "fast_bfloat16", lambda: fast)
    step = _step(quantize="none", adapter={"rank": 2}, epochs=1, max_length=64)
    trained = step.fit(pa.Table.from_pylist(rows[:1]), stopping(tmp_path, make_model()))
    assert trained.metrics["dtype"] == computed
    record = TrainingRecord.read(trained.adapter)
    assert record is not None
    assert record.dtype == computed
