"""The forward gradient: the slope along the noise that forward mode finds is that of the backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gristmill.contracts.inference import ModelWeights, derive_seed
from gristmill.kernels import forward_mode
from gristmill.kernels.cross_entropy import linear_cross_entropy
from gristmill.kernels.log_probs import linear_log_probs
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.optimizers.mezo import MeZO
from gristmill.trainer.optimizers.optimizer_options import FORWARD_KINDS

IDS = torch.randint(0, 300, (24,), generator=torch.Generator().manual_seed(3))
#: Family, adapter, base, and the parts that are trained too.
CASES: dict[str, tuple[str, dict[str, Any], str, tuple[Any, ...]]] = {
    "lora": ("llama", {"rank": 3, "dropout": 0.3}, "nf4", ()),
    "rslora": ("phi3", {"rank": 3, "kind": "rslora"}, "none", ()),
    "delta": ("gemma2", {"kind": "delta"}, "none", ("norms", "embeddings")),
    "svft": ("llama", {"kind": "svft", "svft_band": 1}, "none", ()),
    "bottleneck": ("qwen3", {"kind": "bottleneck", "rank": 3}, "int8", ()),
    "prefix": ("llama", {"kind": "prefix", "prefix_tokens": 2}, "none", ()),
    "mam": ("llama", {"kind": "mam", "rank": 3, "prefix_tokens": 2}, "nf4", ()),
}


class _Loss:
    def __init__(self, model: Any, pairs: bool) -> None:
        self.model, self.pairs = model, pairs or model.head.requires_grad

    def value(self) -> Tensor:
        """Compute the loss, with the same dropout and the same noise on the embeddings each time."""
        torch.manual_seed(8)
        hidden = self.model(IDS, (14, 10))[:-1]
        if self.pairs:
            return -linear_log_probs(hidden, self.model.head, IDS[1:]).tanh().sum()
        weights = torch.linspace(0.5, 1.5, 23, dtype=torch.float64)
        return linear_cross_entropy(hidden, self.model.head, IDS[1:], weights)[0]

    def __call__(self) -> float:
        raise AssertionError("no loss is computed for a difference")

    def slope(self) -> float:
        with torch.no_grad():
            return float(forward_mode.slope(self.value()))


def test_each_kind_is_measured() -> None:
    assert {settings.get("kind", "lora") for _, settings, _, _ in CASES.values()} == FORWARD_KINDS


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_slope_is_the_gradient_times_the_noise(case: str, pairs: bool, make_model) -> None:
    family, settings, quantize, parts = CASES[case]
    changes = (
        {"pad_token_id": None} if family == "phi3" else {"sliding_window": 9} if family == "gemma2" else {}
    )
    path = make_model(family, num_hidden_layers=2, **changes)
    model = load_adapted(
        ModelWeights("base", path, "digest", None),
        AdapterSettings.model_validate(settings),
        seed=1,
        dtype=torch.float64,
        quantize=quantize,
        parts=parts,
    ).double()
    model.train().noise = 5.0
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    optimizer = MeZO(parameter_groups(model), estimate="forward")
    optimizer.prepare(model)
    loss = _Loss(model, pairs)
    gradients = torch.autograd.grad(loss.value(), optimizer.parameters)
    before = [each.detach().clone() for each in optimizer.parameters]
    noise = dict(optimizer._directions(optimizer._parts[0], derive_seed(7, 0)))
    wanted = sum(float((g * noise[each]).sum()) for each, g in zip(optimizer.parameters, gradients))
    assert optimizer.descend(loss, 0.01, 7) == pytest.approx(abs(wanted), rel=1e-6)
    for each, old in zip(optimizer.parameters, before):
        torch.testing.assert_close(each.detach(), old - 0.01 * wanted * noise[each], rtol=1e-6, atol=1e-9)
    assert all(isinstance(each, torch.nn.Parameter) for each in model.parameters())
    assert len(list(model.parameters())) == len(before)
    assert not forward_mode.active()
