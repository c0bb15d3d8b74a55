"""QFT: weights, gradients and moments are integers, which change on average as Lion says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gristmill.kernels import int8
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.qft import IntegerWeight
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.linear import Linear
from gristmill.trainer.optimizers.lion import Lion
from gristmill.trainer.optimizers.qft import QFT


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class _Layer:
    """A model of one layer, as far as the optimizer looks at it."""

    def __init__(self, rows: int, columns: int) -> None:
        self.linear = Linear(int8.quantize(_random(rows, columns)), None, torch.float32)
        settings = AdapterSettings(kind="qft")
        self.adapter = IntegerWeight.over(self.linear, settings, 1, torch.Generator())
        self.linear.adapter = self.adapter

    def linears(self) -> list[tuple[str, Linear]]:
        return [("layer", self.linear)]


def _optimizer(layer: _Layer, **options: float) -> QFT:
    optimizer = QFT([{"params": [layer.adapter.anchor], "rate": 1.0}], **options)  # type: ignore[arg-type]
    model: Decoder = layer  # type: ignore[assignment]
    optimizer.prepare(model)
    return optimizer


def _backward(layer: _Layer, x: Tensor, d_y: Tensor) -> None:
    layer.linear(x).backward(d_y)


def test_the_gradient_is_that_of_the_weight_rounded_to_integers_and_adds_up() -> None:
    layer, x = _Layer(6, 9), _random(5, 9, seed=1).requires_grad_()
    weight = int8.dequantize(layer.adapter.held())
    d_y = _random(5, 6, seed=2)
    _backward(layer, x, d_y)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, d_y @ weight)
    wanted = d_y.T @ x.detach()
    found = layer.adapter.gradient
    assert found is not None
    assert found.codes.dtype == torch.int8
    assert ((int8.dequantize(found) - wanted).abs() <= 0.5 * found.scales[:, None] + 1e-6).all()
    assert layer.adapter.anchor.grad is not None
    torch.testing.assert_close(layer.adapter.anchor.grad, wanted.norm().view(1))
    _backward(layer, x.detach(), d_y)
    twice = layer.adapter.gradient
    assert twice is not None
    assert ((int8.dequantize(twice) - 2 * wanted).abs() <= 1.5 * twice.scales[:, None]).all()


def test_codes_change_on_average_as_lion_says() -> None:
    layer = _Layer(64, 512)
    adapter, weight = layer.adapter, int8.dequantize(layer.adapter.held())
    optimizer = _optimizer(layer, weight_decay=0.0)
    before, scales = adapter.codes.clone(), adapter.scales.clone()
    free = nn.Parameter(weight.clone())
    lion = Lion([{"params": [free], "rate": 1.0}])
    rate = 0.3 * scales.min().item()
    for step in range(3):
        x, d_y = _random(8, 512, seed=10 + step), _random(8, 64, seed=20 + step)
        optimizer.clear()
        _backward(layer, x, d_y)
        free.grad = d_y.T @ x
        optimizer.step(rate)
        lion.step(rate)
    assert adapter.codes.dtype == torch.int8
    assert torch.equal(adapter.scales, scales)
    assert adapter.codes is optimizer.states[adapter.anchor]["codes"]
    assert torch.equal(layer.linear.base.codes, adapter.codes)  # type: ignore[union-attr]
    inside = before.abs() < 120
    moved = (adapter.codes - before).float() * scales[:, None]
    for sign in (-1, 1):
        towards = inside & ((free.detach() - weight).sign() == sign)
        assert moved[towards].mean().item() == pytest.approx(
            (free.detach() - weight)[towards].mean().item(), rel=0.1
        )


def test_training_takes_three_bytes_per_weight() -> None:
    layer = _Layer(16, 64)
    optimizer = _optimizer(layer)
    _backward(layer, _random(4, 64, seed=1), _random(4, 16, seed=2))
    optimizer.step(1e-3)
    gradient = layer.adapter.gradient
    assert gradient is not None
    held = [*optimizer.states[layer.adapter.anchor].values(), gradient.codes, gradient.scales]
    assert sum(each.nbytes for each in held) == 3 * 16 * 64 + 3 * 4 * 16
    optimizer.clear()
    assert layer.adapter.gradient is None
    assert layer.adapter.integers == 16 * 64


def test_a_plain_parameter_has_a_moment_of_integers_that_can_be_forgotten() -> None:
    parameter, gradient = nn.Parameter(torch.zeros(4, 6)), _random(4, 6)
    optimizer = QFT([{"params": [parameter], "rate": 1.0}])
    parameter.grad = gradient
    optimizer.step(1e-2)
    torch.testing.assert_close(parameter.detach(), -1e-2 * gradient.sign())
    moment, kept = optimizer.states[parameter]["moment"], gradient > 0.5
    assert moment.dtype == torch.int8
    assert (moment[kept] > 0).all()
    optimizer.forget(parameter, kept)
    assert not moment[~kept].any()
    assert (moment[kept] > 0).all()


def test_weight_decay_shrinks_the_weights() -> None:
    layer = _Layer(16, 256)
    before = layer.adapter.codes.float().abs().mean()
    optimizer = _optimizer(layer, weight_decay=10.0)
    _backward(layer, torch.zeros(4, 256), torch.zeros(4, 16))
    optimizer.step(1e-2)
    after = layer.adapter.codes.float().abs().mean()
    assert after / before == pytest.approx(0.9, abs=0.01)
