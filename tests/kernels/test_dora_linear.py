"""The DoRA operation compared with its dense definition, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.kernels.dora_linear import dora_linear, row_norms

SCALE = 1.7


def _inputs(tokens: int = 5, rows: int = 7, columns: int = 6, rank: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "x": draw(tokens, columns),
        "w": draw(rows, columns),
        "bias": draw(rows),
        "a": draw(rank, columns),
        "b": draw(rows, rank),
        "m": draw(rows).abs() + 0.5,
    }


def _dense(x: Tensor, w: Tensor, bias: Tensor, a: Tensor, b: Tensor, m: Tensor) -> Tensor:
    whole = w + SCALE * b @ a
    return x @ (whole * (m / whole.norm(dim=1).detach())[:, None]).T + bias


def _ours(x: Tensor, w: Tensor, bias: Tensor, a: Tensor, b: Tensor, m: Tensor) -> Tensor:
    squares = w.square().sum(1)
    return dora_linear(
        x,
        lambda: w,
        bias,
        a,
        b,
        m,
        SCALE,
        lambda dense: row_norms(dense, squares, a.detach(), b.detach(), SCALE),
    )


@pytest.mark.parametrize("shape", [(5, 7, 6, 3), (1, 1, 1, 1), (0, 4, 3, 2), (130, 65, 33, 8)])
def test_output_and_every_gradient_equal_the_dense_definition(shape: tuple[int, int, int, int]) -> None:
    inputs = _inputs(*shape)
    trained = {name: inputs[name].requires_grad_() for name in ("x", "a", "b", "m")}
    upstream = torch.randn(
        shape[0], shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    theirs, ours = _dense(**inputs), _ours(**inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad(theirs, list(trained.values()), upstream)
    found = torch.autograd.grad(ours, list(trained.values()), upstream)
    for name, one, other in zip(trained, found, expected):
        torch.testing.assert_close(
            one, other, rtol=1e-11, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_gradcheck_at_fixed_norms() -> None:
    inputs = _inputs()
    norms = (inputs["w"] + SCALE * inputs["b"] @ inputs["a"]).norm(dim=1)
    weight, bias = inputs["w"], inputs["bias"]

    def run(x: Tensor, seen: Tensor, a: Tensor, b: Tensor, m: Tensor) -> Tensor:
        return dora_linear(x, lambda: weight, bias, a, b, m, SCALE, lambda _: norms, seen)

    def same(x: Tensor, a: Tensor, b: Tensor, m: Tensor) -> Tensor:
        return dora_linear(x, lambda: weight, bias, a, b, m, SCALE, lambda _: norms)

    trained = [inputs[name].requires_grad_() for name in ("x", "a", "b", "m")]
    assert torch.autograd.gradcheck(same, trained)
    seen = (inputs["x"].detach() * 1.25).requires_grad_()
    assert torch.autograd.gradcheck(run, [trained[0], seen, *trained[1:]])


def test_a_row_of_zeros_stays_zero_with_finite_gradients() -> None:
    inputs = _inputs()
    inputs["w"][2], inputs["b"][2], inputs["m"][2] = 0.0, 0.0, 0.0
    inputs["bias"].zero_()
    trained = [inputs[name].requires_grad_() for name in ("a", "b", "m")]
    y = _ours(**inputs)
    assert torch.equal(y[:, 2], torch.zeros(5, dtype=torch.float64))
    assert all(torch.isfinite(gradient).all() for gradient in torch.autograd.grad(y.sum(), trained))


def test_in_bf16_a_gain_moves_in_steps_finer_than_bf16s() -> None:
    """A gain of 1 + 0.4 * 2**-7 rounds to 1 in bf16, so small updates of it would have no effect."""
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(64, 32, generator=generator).bfloat16()
    x = torch.randn(256, 32, generator=generator).bfloat16()
    a, b = torch.zeros(2, 32), torch.zeros(64, 2)
    norm = w.float().norm(dim=1)
    gain = 0.4 * 2**-7

    def size(magnitude: Tensor) -> Tensor:
        return dora_linear(x, lambda: w, None, a, b, magnitude, 1.0, lambda _: norm).double().abs().sum()

    assert (size(norm * (1 + gain)) / size(norm)).item() - 1 == pytest.approx(gain, rel=0.5)
