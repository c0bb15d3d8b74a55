"""The memory of a step is predicted and reported before the model is loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.forecast.memory_plan import MemoryPlan, block_weights
from gristmill.trainer.forecast.sharded_plan import sharded_plan
from gristmill.trainer.forecast.step_plan import (
    ATTENTION,
    LINEAR,
    Products,
    frozen_values,
    held_shape,
    plan_step,
    trained_weights,
)
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.optimizers.adamw import AdamW
from gristmill.trainer.sparse.cola import COLA


def _step(**changes: Any) -> SupervisedFineTuning:
    return SupervisedFineTuning.model_validate(
        {"model": "base", "dtype": "fp32", "quantize": "none", "max_length": 128, **changes}
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": {"rank": 4}},
        {"adapter": {"kind": "dora", "rank": 3, "targets": ["q_proj", "k_proj", "down_proj"]}},
        {"adapter": {"kind": "delta"}},
        {"adapter": {"kind": "delta", "targets": ["o_proj", "up_proj"]}},
        {"adapter": {"kind": "weak_columns", "init": "owq", "rank": 4}, "quantize": "int4"},
        {"adapter": {"kind": "l4q", "rank": 4, "l4q_group": 4}},
        {"adapter": {"kind": "dsee", "rank": 4, "dsee_entries": 9}, "quantize": "nf4"},
    ],
)
def test_the_trained_weights_are_those_of_the_shape(
    changes: dict[str, Any], make_model, rows, stopping, tmp_path: Path
) -> None:
    path, step = make_model("qwen3"), _step(**changes)
    metrics = step.fit(pa.Table.from_pylist(rows[:2]), stopping(tmp_path / "work", path)).metrics
    assert trained_weights(step, ModelConfig.read(path)) == metrics["trainable_parameters"]


def test_half_is_half_of_the_weights(make_model) -> None:
    config = ModelConfig.read(make_model())
    dense = {"adapter": {"kind": "delta"}}
    assert 2 * trained_weights(_step(**dense, sparse={"kind": "half"}), config) == trained_weights(
        _step(**dense), config
    )


def _plan(
    step: SupervisedFineTuning, config: ModelConfig, steps: int = 7, continued: bool = False
) -> MemoryPlan:
    rows = [Example("a", (TokenSequence((1,) * 9, (True,) * 9),))]
    return plan_step(
        step, config, torch.device("cpu"), False, rows, [[[0]]] * steps, 0, 0, continued=continued
    )


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_base_and_the_links_of_cola_take_what_the_plan_says(dtype: str, make_model) -> None:
    """A base in float32, also where the others are in bfloat16; the weight of one layer is then rounded."""
    path, policy = make_model(), COLA(every=2, seed=1)
    config, step = ModelConfig.read(path), _step(dtype=dtype, adapter={"rank": 4})
    weights = ModelWeights("base", path, "digest", None)
    model = load_adapted(weights, step.adapter, seed=1, dtype=step.torch_dtype())
    before = sum(linear.base.nbytes for _, linear in model.linears())
    policy.begin(model)
    optimizer = AdamW(parameter_groups(model))
    for number in range(7):
        policy.after_step(number, number == 6, optimizer)
    held = sum(linear.base.nbytes for _, linear in model.linears()) - before
    held += sum(each.nbytes for links in policy.chain.values() for link in links for each in link)
    if dtype == "bf16":
        held += 2 * max(math.prod(linear.shape) for _, linear in model.linears())
    chained = _step(dtype=dtype, adapter={"rank": 4}, sparse={"kind": "cola", "every": 2})
    assert _plan(chained, config).base - _plan(step, config).base == held


def test_what_a_later_half_freezes_is_planned(
    make_model, rows, stopping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, step = make_model(), _step(adapter={"kind": "delta"}, sparse={"kind": "half"})
    config, asked = ModelConfig.read(path), []
    frozen = _plan(step, config, continued=True).adapters - _plan(step, config).adapters
    assert frozen == 4 * trained_weights(step, config)

    def noted(*arguments: Any, continued: bool) -> MemoryPlan:
        asked.append(continued)
        return plan_step(*arguments, continued=continued)

    monkeypatch.setattr("gristmill.trainer.fit.plan_step", noted)
    table = pa.Table.from_pylist(rows[:2])
    first = step.fit(table, stopping(tmp_path / "first", path))
    step.fit(table, stopping(tmp_path / "second", path, first.adapter))
    assert asked == [False, True]


def test_loram_is_planned_as_the_pruned_model(make_model, rows, stopping, tmp_path: Path) -> None:
    path, table = make_model(), pa.Table.from_pylist(rows[:2])
    step = _step(adapter={"kind": "loram", "init": "pruned", "rank": 4, "prune_share": 0.25})
    config = held_shape(ModelConfig.read(path), step.adapter)
    model = load_adapted(
        ModelWeights("base", path, "digest", None), step.adapter, seed=1, dtype=torch.float32
    )
    assert block_weights(config) == sum(math.prod(linear.shape) for _, linear in model.linears())
    metrics = step.fit(table, stopping(tmp_path / "loram", path)).metrics
    assert trained_weights(step, config) == metrics["trainable_parameters"]
    plain = _step(adapter={"rank": 4}).fit(table, stopping(tmp_path / "lora", path)).metrics
    assert metrics["tera_flop"] < 0.95 * plain["tera_flop"]


def test_the_memory_is_told_before_the_weights_are_read(make_model, rows, stopping, tmp_path: Path) -> None:
    path = make_model()
    weights = load_file(path / "model.safetensors")
    weights["model.layers.0.self_attn.sink.weight"] = torch.zeros(2)  # which only reading the weights finds
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    context = stopping(tmp_path / "work", path)
    with pytest.raises(ModelError, match="sink"):
        _step().fit(pa.Table.from_pylist(rows), context)
    assert context.reports == []
    assert context.told[-1] == ("loading the model", 0, 1)
    assert context.memory[0] > 0


def test_what_adapters_hold_frozen_is_whole_in_each_process(make_model) -> None:
    config, step = (
        ModelConfig.read(make_model(num_hidden_layers=4)),
        _step(adapter={"kind": "svft"}, dtype="bf16"),
    )
    frozen = 2 * frozen_values(config, step.adapter)
    plan = MemoryPlan(base=10 * frozen, dequantized=0, adapters=0, activations=0, head=0)
    without = sharded_plan(plan, _step(dtype="bf16"), config, 4)
    apart = sharded_plan(plan, step, config, 4).base - without.base
    both = min(2, config.layers) / config.layers
    assert apart == pytest.approx(frozen * (1 - 1 / 4 - both * 3 / 4), abs=4)


def test_shapes_of_products_are_counted_by_pack_and_length() -> None:
    def row(tokens: int) -> Example:
        return Example("a", (TokenSequence((1,) * tokens, (True,) * tokens),))

    rows = [row(100), row(100), row(600), row(50)]
    steps = [[[0, 1], [2]], [[0, 3]], [[1, 3]]]  # 200, 600, 150 and again 150 tokens
    lengths = 1 + 2 + 1  # one of two blocks of queries
    found = Products.of(_step(dtype="bf16"), rows, steps)
    assert found == Products(3 * LINEAR + lengths * ATTENTION, LINEAR + 2 * ATTENTION)
    assert Products.of(_step(dtype="fp32"), rows, steps) == Products(0, 0)
