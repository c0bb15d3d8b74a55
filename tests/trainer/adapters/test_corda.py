"""CorDA: the adapter gets components of W that the covariance of its inputs orders, as in PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.corda import components
from gristmill.trainer.adapters.layer_statistics import damped
from gristmill.trainer.settings import TrainSettings

N, K, RANK, SCALE = 12, 8, 2, 1.5


def _case() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(N, K, generator=generator)
    x = torch.randn(50, K, generator=generator) * torch.logspace(0, -1.5, K)
    return weight, x, x.T @ x / len(x)


@pytest.mark.parametrize("method", ["ipm", "kpm"])
def test_the_components_are_those_of_peft(method: Literal["ipm", "kpm"]) -> None:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.config import CordaConfig
    from peft.tuners.lora.corda import preprocess_corda

    weight, x, covariance = _case()
    model = nn.ModuleDict({"layer": nn.Linear(K, N, bias=False)})
    model["layer"].weight.data.copy_(weight)
    config = LoraConfig(
        r=RANK,
        lora_alpha=SCALE * RANK,
        target_modules=["layer"],
        init_lora_weights="corda",
        corda_config=CordaConfig(corda_method=method),
    )
    preprocess_corda(model, config, run_model=lambda: model["layer"](x))
    theirs = get_peft_model(model, config).base_model.model["layer"]
    a, b = components(weight, covariance, RANK, SCALE, smallest=method == "kpm")
    product = SCALE * b @ a
    delta = theirs.scaling["default"] * theirs.lora_B["default"].weight @ theirs.lora_A["default"].weight
    torch.testing.assert_close(product, delta.detach(), atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(weight - product, theirs.base_layer.weight.detach(), atol=1e-3, rtol=1e-2)


def test_instruction_takes_what_matters_most_for_the_inputs_and_knowledge_what_matters_least() -> None:
    weight, x, covariance = _case()
    context = damped(covariance)
    values = torch.linalg.svdvals(weight @ context)
    for smallest, expected in ((False, values[:RANK]), (True, values[-RANK:])):
        a, b = components(weight, covariance, RANK, SCALE, smallest=smallest)
        found = torch.linalg.svdvals(SCALE * b @ a @ context)
        torch.testing.assert_close(found[:RANK], expected, atol=1e-5, rtol=1e-3)
        assert found[RANK] < 1e-5
    most, least = (
        (x @ (b @ a).T).norm()
        for a, b in (components(weight, covariance, RANK, SCALE, smallest=each) for each in (False, True))
    )
    assert least < 0.2 * most


def test_a_quantized_base_is_refused_before_training(tmp_path: Path) -> None:
    from gristmill.trainer.methods.sft import SupervisedFineTuning

    with pytest.raises(ValueError, match="the base cannot be quantized \\(nf4\\): give quantize: none"):
        SupervisedFineTuning(model="base", adapter=AdapterSettings(init="corda"))
    assert issubclass(SupervisedFineTuning, TrainSettings)
