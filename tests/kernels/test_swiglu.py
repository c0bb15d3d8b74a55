"""SwiGLU in both forms: values and gradients compared with float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from gristmill.kernels import swiglu as module
from gristmill.kernels.swiglu import swiglu


def _random(*shape: int, seed: int = 0, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(device).mul_(3)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 7), (2, 1025), (0, 4)])
def test_equals_the_plain_formula_and_its_gradients(shape: tuple[int, ...], device: torch.device) -> None:
    gate, up, upstream = (_random(*shape, seed=seed, device=device) for seed in range(3))
    inputs = gate.requires_grad_(), up.requires_grad_()
    found, plain = swiglu(gate, up), silu(gate) * up
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(*(torch.autograd.grad(y, inputs, upstream) for y in (found, plain)))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", [(3, 5), (2, 1025), (0, 4)])
def test_geglu_equals_the_plain_formula_and_its_gradients(
    shape: tuple[int, ...], device: torch.device
) -> None:
    gate, up, upstream = (_random(*shape, seed=seed, device=device) for seed in range(3))
    inputs = gate.requires_grad_(), up.requires_grad_()
    found, plain = swiglu(gate, up, "gelu_tanh"), gelu(gate, approximate="tanh") * up
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(*(torch.autograd.grad(y, inputs, upstream) for y in (found, plain)))


@pytest.mark.usefixtures("form")
def test_gradcheck(device: torch.device) -> None:
    assert torch.autograd.gradcheck(
        swiglu, tuple(_random(2, 3, seed=s, device=device).requires_grad_() for s in (0, 1))
    )


@pytest.mark.usefixtures("form")
def test_reads_the_halves_of_one_projection_and_other_views(device: torch.device) -> None:
    gate, up = _random(4, 12, device=device).requires_grad_().chunk(2, dim=-1)
    torch.testing.assert_close(swiglu(gate, up), silu(gate) * up)
    gate, up = _random(3, 5, device=device).requires_grad_(), _random(5, 3, device=device).requires_grad_().T
    found = swiglu(gate, up)
    torch.testing.assert_close(found, silu(gate) * up)
    upstream = _random(5, 3, seed=2, device=device).T
    torch.testing.assert_close(
        *(torch.autograd.grad(y, (gate, up), upstream) for y in (found, silu(gate) * up))
    )


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_worse_than_the_plain_products_of_that_precision(dtype: torch.dtype, device: torch.device) -> None:
    parts = [_random(6, 200, seed=seed, device=device).to(dtype) for seed in range(3)]
    results = []
    for function, kind in (
        (swiglu, dtype),
        (lambda gate, up: silu(gate) * up, dtype),
        (lambda g, u: silu(g) * u, torch.float64),
    ):
        gate, up, upstream = (part.to(kind).requires_grad_() for part in parts)
        y = function(gate, up)
        results.append([y, *torch.autograd.grad(y, (gate, up), upstream.detach())])
    slack = 1e-6 if dtype == torch.float32 else 1e-3
    for ours, theirs, truth in zip(*results):
        assert ours.dtype == dtype
        assert (ours - truth).abs().mean() <= (theirs - truth).abs().mean() + slack * truth.abs().mean()


@pytest.mark.usefixtures("form")
def test_stays_finite_at_the_ends(device: torch.device) -> None:
    gate = torch.tensor([[-200.0, -1e4, 0.0, 200.0, 1e4]], device=device, requires_grad=True)
    found = swiglu(gate, torch.ones_like(gate))
    assert found.tolist() == [[0.0, 0.0, 0.0, 200.0, 1e4]]
    (gradient,) = torch.autograd.grad(found.sum(), gate)
    assert gradient.tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0]]


def test_refuses_tensors_that_differ() -> None:
    with pytest.raises(ValueError, match="differ"):
        swiglu(torch.ones(2, 3), torch.ones(3, 2))


def test_cost_is_three_tensors_forward_and_five_back() -> None:
    assert module.cost(8192, 14336, 2).moved == 3 * 8192 * 14336 * 2
    assert module.cost(8192, 14336, 2, backward=True).moved == 5 * 8192 * 14336 * 2
