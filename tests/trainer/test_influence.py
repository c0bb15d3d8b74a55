"""The influence of a row: one step on it, and the loss on the target after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import ModelWeights
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
