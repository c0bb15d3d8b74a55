"""HALO: orthogonal rotations, products near the exact ones where plain int8 fails, and both passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.kernels import halo, int8
from gristmill.kernels.frozen_linear import frozen_linear
from gristmill.kernels.products import back, times


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _apart(found: Tensor, wanted: Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("size", [1, 3, 64, 96, 2048])
def test_a_rotation_is_orthogonal_and_its_own_inverse(size: int) -> None:
    values = _random(5, size).double()
    turned = halo.rotate(values)
    torch.testing.assert_close(turned.norm(dim=1), values.norm(dim=1))
    torch.testing.assert_close(halo.rotate(turned), values)
    assert size < 64 or (turned - values).abs().max() > 0.1


@pytest.mark.parametrize(("tokens", "rows", "columns"), [(7, 48, 96), (1, 5, 8), (40, 33, 64)])
def test_both_products_are_near_the_exact_ones_in_spite_of_outliers(
    tokens: int, rows: int, columns: int
) -> None:
    weight, x, d_y = _random(rows, columns), _random(tokens, columns, seed=1), _random(tokens, rows, seed=2)
    x[:, 3] *= 50
    d_y[tokens // 2] *= 50
    held, bias = halo.quantize(weight), _random(rows, seed=3)
    dense = halo.dequantize(held)
    assert _apart(dense, weight) < 0.01
    assert _apart(times(x, held, bias), x @ dense.T + bias) < 0.01
    assert _apart(back(d_y, held), d_y @ dense) < 0.015
    onto = _random(tokens, columns, seed=4)
    torch.testing.assert_close(back(d_y, held, onto.clone()), onto + back(d_y, held))
    assert times(x.bfloat16(), held, None).dtype == torch.bfloat16


def test_without_rotations_an_outlier_takes_the_precision_of_the_others() -> None:
    weight, x = _random(48, 256), _random(7, 256, seed=1)
    x[:, 3] *= 100
    wanted, plain = x @ weight.T, int8.quantize(weight)
    codes = int8.quantize(x)
    found = halo.product(codes.codes, plain.codes.T) * codes.scales[:, None] * plain.scales
    assert _apart(halo.quantize(weight).times(x, None), wanted) < 0.5 * _apart(found, wanted)


def test_the_gradient_of_a_layer_is_that_of_the_rotated_product() -> None:
    held = halo.quantize(_random(16, 32))
    x = _random(9, 32, seed=1).requires_grad_()
    y = frozen_linear(x, lambda: held, None)
    d_y = _random(9, 16, seed=2)
    y.backward(d_y)
    assert torch.equal(y.detach(), held.times(x.detach(), None))
    assert x.grad is not None
    assert torch.equal(x.grad, held.back(d_y, None))


def test_a_value_that_is_not_finite_is_not_hidden() -> None:
    held, x = halo.quantize(_random(4, 8)), _random(3, 8)
    x[1, 2] = float("nan")
    found = held.times(x, None)
    assert torch.isnan(found[1]).all()
    assert torch.isfinite(found[[0, 2]]).all()
    with pytest.raises(ValueError, match="HALO needs a matrix"):
        halo.quantize(torch.ones(3))
