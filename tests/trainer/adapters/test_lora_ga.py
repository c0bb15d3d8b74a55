"""LoRA-GA: the first step of B A follows the gradient of the full weight."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.initialization import InitializationData
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.lora_ga import aligned
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack

N, K, RANK = 16, 9, 3


def _gradient() -> Tensor:
    return torch.randn(N, K, generator=torch.Generator().manual_seed(1))


def test_the_first_step_is_the_best_that_twice_the_rank_allows() -> None:
    gradient = _gradient()
    a, b = aligned(gradient, RANK, 16.0, None, torch.Generator())
    size = N**0.25 / 4
    torch.testing.assert_close(a @ a.T, size**2 * torch.eye(RANK), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(b.T @ b, size**2 * torch.eye(RANK), atol=1e-5, rtol=1e-5)
    # To first order, a gradient step changes B A by -(G A^T A + B B^T G): the leading 2 r components of G.
    step = (gradient @ a.T @ a + b @ b.T @ gradient) / size**2
    u, s, vt = torch.linalg.svd(gradient)
    best = u[:, : 2 * RANK] * s[: 2 * RANK] @ vt[: 2 * RANK]
    torch.testing.assert_close(step, best, atol=1e-5, rtol=1e-4)


def test_the_directions_are_those_of_peft() -> None:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.config import LoraGAConfig
    from peft.tuners.lora.loraga import preprocess_loraga

    generator = torch.Generator().manual_seed(2)
    x, target = torch.randn(20, K, generator=generator), torch.randn(20, N, generator=generator)
    model = nn.ModuleDict({"layer": nn.Linear(K, N, bias=False)})
    weight = model["layer"].weight.detach().clone()
    gradient = ((x @ weight.T - target) * 2).T @ x
    config = LoraConfig(
        r=RANK, target_modules=["layer"], init_lora_weights="lora_ga", lora_ga_config=LoraGAConfig()
    )
    preprocess_loraga(model, config, lambda: (model["layer"](x) - target).square().sum().backward())
    theirs = get_peft_model(model, config).base_model.model["layer"]
    a, b = aligned(gradient, RANK, 16.0, None, torch.Generator())
    # PEFT scales B by the singular values and not A; the directions are the same, up to their signs.
    rows = nn.functional.normalize(theirs.lora_A["default"].weight, dim=1)
    columns = nn.functional.normalize(theirs.lora_B["default"].weight, dim=0)
    size = N**0.25 / math.sqrt(16.0)
    torch.testing.assert_close((rows * a).sum(1).abs(), torch.full((RANK,), size), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close((columns * b).sum(0).abs(), torch.full((RANK,), size), atol=1e-3, rtol=1e-3)


def test_a_loss_that_needs_more_than_the_model_is_refused(make_model) -> None:
    weights = ModelWeights("base", make_model(), "digest", None)
    pack = Pack.of([Example("row", (TokenSequence((1, 2), (False, True)),))], torch.device("cpu"))
    settings = AdapterSettings(init="lora_ga", rank=2)
    with pytest.raises(ModelError, match="needs the gradient of the loss"):
        load_adapted(weights, settings, seed=1, data=InitializationData([pack]), dtype=torch.float32)
    with pytest.raises(ModelError, match="needs training data, and there is none"):
        load_adapted(weights, settings, seed=1, dtype=torch.float32)
    large = AdapterSettings(init="lora_ga", rank=4096)
    with pytest.raises(ModelError, match=r"needs twice the rank, 8192, of layers\..* give a rank of at most"):
        load_adapted(
            weights,
            large,
            seed=1,
            data=InitializationData([pack], lambda model, made: model(made.ids, made.lengths).square().sum()),
            dtype=torch.float32,
        )
