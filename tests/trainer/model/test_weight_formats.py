"""Every quantized format of the base loads, has the documented size and trains; its adapter can be served."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
import torch

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.forecast.memory_plan import plan_memory
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.model.quantization import OWN_PRODUCTS, Quantization
from gristmill.trainer.model.quantize import quantize_model
from gristmill.trainer.model.weight_formats import FORMATS, dense

IDS = torch.randint(0, 300, (48,), generator=torch.Generator().manual_seed(3))
#: Largest relative error of the weights in each format.
ERRORS = {"nf4": 0.12, "int4": 0.12, "int8": 0.01, "int2": 0.4, "halo": 0.01}


def test_the_table_holds_what_a_file_can_name() -> None:
    assert {*FORMATS, "none"} == set(get_args(Quantization))
    assert {name for name, held in FORMATS.items() if hasattr(held.kind, "times")} == OWN_PRODUCTS


@pytest.mark.parametrize("quantize", FORMATS)
def test_a_quantized_base_computes_with_its_dequantized_weights(quantize: str, make_model) -> None:
    path = make_model(hidden_size=128, intermediate_size=256)
    original, model = (
        load_model(path, dtype=torch.float32),
        load_model(path, dtype=torch.float32, quantize=quantize),
    )
    held = 0
    for (name, plain), (_, linear) in zip(original.linears(), model.linears()):
        assert isinstance(linear.base, FORMATS[quantize].kind), name
        assert linear.device == torch.device("cpu")
        error = (linear.weight() - plain.weight()).norm() / plain.weight().norm()
        assert 0 < error < ERRORS[quantize], name
        assert FORMATS[quantize].cost(*linear.shape, 2).read == pytest.approx(linear.base.nbytes, rel=0.01)
        held += linear.base.nbytes
        plain.base = dense(linear.base, torch.float32)
    with torch.no_grad():
        dequantized, found = (each.logits(IDS, [48]) for each in (original, model))
    if quantize in OWN_PRODUCTS:  # the inputs are rounded too
        assert (found - dequantized).norm() < 0.1 * dequantized.norm()
    else:
        assert torch.equal(dequantized, found)
    plan = plan_memory(
        ModelConfig.read(path), bytes_per_value=4, quantized_bytes=FORMATS[quantize].bytes_per_weight,
        keep_dequantized=False, adapter_weights=0, tokens=1,
    )  # fmt: skip
    # In INT8, few weights (128 per row) share a scale, so the scales are not negligible.
    assert plan.base == pytest.approx(held + model.embeddings.nbytes + model.head.nbytes, rel=0.03)


@pytest.mark.parametrize("quantize", FORMATS)
def test_training_over_each_base_lowers_the_loss_and_its_adapter_loads(
    quantize: str, make_model, rows: list[dict[str, Any]], context: Any
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    path = make_model()
    context.models["base"] = ModelWeights("base", path, "digest", None)
    step = SupervisedFineTuning.model_validate(
        {"model": "base", "quantize": quantize, "epochs": 6, "batch_tokens": 300, "max_length": 128,
         "dtype": "fp32", "learning_rate": 1e-2, "adapter": {"rank": 4, "alpha": 8}}
    )  # fmt: skip
    trained = step.fit(pa.Table.from_pylist(rows), context)
    assert trained.metrics["loss_last"] < 0.8 * trained.metrics["loss_first"]
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        before = plain(IDS[None]).logits[0]
        after = PeftModel.from_pretrained(plain, trained.adapter)(IDS[None]).logits[0]
    assert (after - before).abs().max() > 0.1


def test_a_format_that_is_not_written_is_refused_with_what_is(make_model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="written in nf4 and int8 only; to train over a base in 'int4', set"):
        quantize_model(make_model(), tmp_path / "q", format="int4")
    assert not (tmp_path / "q").exists()
