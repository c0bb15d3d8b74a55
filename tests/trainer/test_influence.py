"""The influence of a row: one step on it, and the loss on the target after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.own_files import save_own
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.adapters.training_record import TrainingRecord
from gristmill.trainer.influence import InfluenceScore, drawn
from gristmill.trainer.influence_probe import Probe

TARGET = [{"_id": f"t{n}", "prompt": "Say the word.", "response": "flour flour flour"} for n in range(3)]
POOL = [
    {"_id": "same", "prompt": "Say the word.", "response": "flour flour flour"},
    {"_id": "other", "prompt": "Say the word.", "response": "0123456789"},
    {"_id": "empty", "prompt": "Say the word.", "response": ""},
]


@pytest.fixture
def bench(context: Any, make_model: Callable[..., Path]) -> Any:
    context.models["base"] = ModelWeights("base", make_model(), "digest")
    context.tables["tasks"] = pa.Table.from_pylist(TARGET)
    return context


def test_a_row_like_the_target_lowers_its_loss_more(bench: Any) -> None:
    result = InfluenceScore(model="base", towards="tasks").apply(pa.Table.from_pylist(POOL), bench)
    same, other, empty = result.columns["influence"].to_pylist()
    assert same > 0
    assert same > other
    assert empty is None
    assert result.errors is not None
    assert [bool(error) for error in result.errors] == [False, False, True]
    assert result.summary["probed"] == 2


def test_one_process_of_several_probes_by_itself(bench: Any, one_of_two: None) -> None:
    """As the first one of ``torchrun``, after a training: the others do not answer."""
    result = InfluenceScore(model="base", towards="tasks").apply(pa.Table.from_pylist(POOL[:1]), bench)
    assert result.columns["influence"][0].as_py() > 0


def test_every_row_is_probed_from_the_same_weights(bench: Any) -> None:
    step = InfluenceScore(model="base", towards="tasks")
    probe = Probe.of(step.training(), bench.tables["tasks"], bench, 1e-2)
    first = probe.influence(POOL[0])
    probe.influence(POOL[1])
    assert probe.influence(POOL[0]) == first


def test_the_influence_of_a_small_step_is_the_product_of_both_gradients(bench: Any) -> None:
    """Of first order, a step lowers the loss by the rate times the product: half the rate, half of it."""
    step = InfluenceScore(model="base", towards="tasks")
    whole, half = (
        Probe.of(step.training(), bench.tables["tasks"], bench, rate).influence(POOL[0])
        for rate in (2e-3, 1e-3)
    )
    assert whole == pytest.approx(2 * half, rel=0.1)


@pytest.mark.parametrize(
    "adapter",
    [{"rank": 4, "alpha": 4, "targets": ("q_proj", "up_proj")}, {"kind": "dora"}, {"kind": "bottleneck"}],
)
def test_a_student_is_probed_with_its_own_adapter(
    adapter: dict[str, Any], bench: Any, tmp_path: Path
) -> None:
    base, settings = bench.models["base"], AdapterSettings.model_validate(adapter)
    model = load_adapted(base, settings, seed=1, dtype=torch.float32)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    record = TrainingRecord(settings, 1, "none", (), "fp32")
    if settings.own_layout:
        save_own(model, tmp_path / "student", str(base.path), record)
    else:
        save_adapter(model, tmp_path / "student", settings.peft(str(base.path)), torch.arange(20), record)
    bench.models["student"] = replace(base, name="student", adapter=tmp_path / "student")
    plain, probed = (
        Probe.of(InfluenceScore(model=name, towards="tasks").training(), bench.tables["tasks"], bench, 1e-2)
        for name in ("base", "student")
    )
    assert probed.loss != pytest.approx(plain.loss, rel=1e-3), "the loss of the student, not of its base"
    shapes = [[each.shape for each in of.parameters() if each.requires_grad] for of in (probed.model, model)]
    assert shapes[0] == shapes[1]
    assert probed.influence(POOL[0]) > max(0.0, probed.influence(POOL[1]))


def test_only_drawn_rows_are_probed(bench: Any) -> None:
    table = pa.Table.from_pylist([{**POOL[0], "_id": f"p{n}"} for n in range(9)])
    result = InfluenceScore(model="base", towards="tasks", probe=2, sample=1).apply(table, bench)
    known = [n for n, value in enumerate(result.columns["influence"].to_pylist()) if value is not None]
    assert known == drawn(table, 2, bench.seed)
    assert len(known) == 2


def test_a_target_that_cannot_be_trained_on_is_one_clear_error(bench: Any) -> None:
    bench.tables["tasks"] = pa.Table.from_pylist([POOL[2]])
    with pytest.raises(DataError, match="1 row cannot be trained on"):
        InfluenceScore(model="base", towards="tasks").apply(pa.Table.from_pylist(POOL), bench)
