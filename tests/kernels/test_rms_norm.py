"""RMSNorm, alone and of a sum: values and gradients of both forms compared with float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import rms_norm as torch_rms_norm

from gristmill.kernels import rms_norm as module
from gristmill.kernels.rms_norm import add_rms_norm, rms_norm

SHAPES = [(1, 3), (5, 7), (4, 2, 6), (3, 128), (2, 130), (0, 3), (1, 1)]


def _random(*shape: int, seed: int = 0, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(device)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_plain_formula_and_its_gradients(shape: tuple[int, ...], device: torch.device) -> None:
    x, weight = (_random(*s, device=device).requires_grad_() for s in (shape, shape[-1:]))
    upstream = _random(*shape, seed=1, device=device)
    plain, found = torch_rms_norm(x, shape[-1:], weight, 1e-5), rms_norm(x, weight, 1e-5)
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(*(torch.autograd.grad(y, (x, weight), upstream) for y in (found, plain)))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_sum_and_its_norm_equal_the_plain_formulas(shape: tuple[int, ...], device: torch.device) -> None:
    x, residual = (_random(*shape, seed=seed, device=device).requires_grad_() for seed in (0, 1))
    weight = _random(shape[-1], device=device)
    total, normed = add_rms_norm(x, residual, weight, 1e-5)
    plain = torch_rms_norm(x + residual, shape[-1:], weight, 1e-5)
    torch.testing.assert_close(total, x + residual)
    torch.testing.assert_close(normed, plain)
    up, down = (_random(*shape, seed=seed, device=device) for seed in (2, 3))
    found = torch.autograd.grad((total * up + normed * down).sum(), (x, residual))
    expected = torch.autograd.grad(((x + residual) * up + plain * down).sum(), (x, residual))
    torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("form")
def test_gradcheck(device: torch.device) -> None:
    x, residual, weight = (_random(*s, device=device).requires_grad_() for s in ((3, 5), (3, 5), (5,)))
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, 1e-5), (x, weight))
    assert torch.autograd.gradcheck(lambda x, r, w: add_rms_norm(x, r, w, 1e-5), (x, residual, weight))


@pytest.mark.usefixtures("form")
def test_either_result_may_go_unused(device: torch.device) -> None:
    x, residual = (_random(3, 5, seed=seed, device=device).requires_grad_() for seed in (0, 1))
    weight = _random(5, device=device)
    (alone,) = torch.autograd.grad(add_rms_norm(x, residual, weight, 1e-5)[0].sum(), residual)
    assert torch.equal(alone, torch.ones_like(x))
    (normed,) = torch.autograd.grad(add_rms_norm(x, residual, weight, 1e-5)[1].sum(), x)
    (expected,) = torch.autograd.grad(torch_rms_norm(x + residual, (5,), weight, 1e-5).sum(), x)
    torch.testing.assert_close(normed, expected)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_worse_than_transformers_own_rounding(dtype: torch.dtype, device: torch.device) -> None:
    x, weight, upstream = (
        _random(*s, seed=i, device=device).to(dtype) for i, s in enumerate([(9, 300), (300,), (9, 300)])
    )

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)).to(x.dtype)

    results = []
    for function, kind in ((rms_norm, dtype), (plain, dtype), (plain, torch.float64)):
        inputs = [part.to(kind).requires_grad_() for part in (x, weight)]
        y = function(*inputs, 1e-5) if function is rms_norm else function(*inputs)
        results.append([y, *torch.autograd.grad(y, inputs, upstream.to(kind))])
    slack = 1e-6 if dtype == torch.float32 else 2e-3
    for ours, theirs, truth in zip(*results):
        assert ours.dtype == dtype
        assert (ours - truth).abs().mean() <= (theirs - truth).abs().mean() + slack * truth.abs().mean()


def test_both_forms_round_to_the_same_bits_in_bfloat16(device: torch.device) -> None:
    from gristmill.kernels import dispatch

    x, weight = (_random(*s, device=device).bfloat16() for s in ((16, 96), (96,)))
    found = {}
    for form in ("plain", "triton"):
        with dispatch.use(form):
            found[form] = rms_norm(x, weight, 1e-5)
    # A value next to the midpoint of two bfloat16 numbers may round to either.
    assert (found["plain"] != found["triton"]).float().mean() < 0.002
    torch.testing.assert_close(found["plain"], found["triton"])


@pytest.mark.usefixtures("form")
def test_reads_views(device: torch.device) -> None:
    x, weight = _random(7, 10, device=device).T[:, :6].requires_grad_(), _random(12, device=device)[::2]
    found = rms_norm(x, weight, 1e-5)
    torch.testing.assert_close(found, torch_rms_norm(x, (6,), weight, 1e-5))
    (gradient,) = torch.autograd.grad(found, x, _random(6, 10, device=device).T)
    assert gradient.shape == x.shape


@pytest.mark.usefixtures("form")
def test_rows_beyond_one_program_add_up_in_the_weights_gradient(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.kernels.gpu import rms_norm as gpu

    monkeypatch.setattr(gpu, "PROGRAMS", 3)
    monkeypatch.setattr(gpu, "TILE", 8)  # two rows at once
    x, weight = _random(10, 4, device=device), _random(4, device=device).requires_grad_()
    found = torch.autograd.grad(rms_norm(x, weight, 1e-5).sum(), weight)
    torch.testing.assert_close(
        found, torch.autograd.grad(torch_rms_norm(x, (4,), weight, 1e-5).sum(), weight)
    )


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        rms_norm(torch.ones(2, 3), torch.ones(4), 1e-5)
    with pytest.raises(ValueError, match="does not fit"):
        rms_norm(torch.ones(2, 3), torch.ones(3, dtype=torch.bfloat16), 1e-5)
    with pytest.raises(ValueError, match="cannot add"):
        add_rms_norm(torch.ones(2, 3), torch.ones(3), torch.ones(3), 1e-5)


def test_cost_is_that_of_the_tensors_touched() -> None:
    assert module.cost(8192, 4096, 2).moved == 2 * 8192 * 4096 * 2 + 4096 * 2 + 4 * 8192
    assert module.cost(8192, 4096, 2, backward=True).moved == 3 * 8192 * 4096 * 2 + 4096 * 2 + 4 * 8192
    assert module.cost(8, 4, 2, add=True).moved == 4 * 8 * 4 * 2 + 4 * 2 + 4 * 8


@pytest.mark.usefixtures("form")
def test_a_float32_weight_over_bfloat16_is_applied_before_the_only_rounding(device: torch.device) -> None:
    x, residual = (_random(9, 64, seed=seed, device=device).bfloat16() for seed in (0, 1))
    weight = _random(64, seed=2, device=device).float().requires_grad_()
    total, found = add_rms_norm(x.requires_grad_(), residual, weight, 1e-5)
    wide = (x + residual).float()
    scale = wide.square().mean(1, keepdim=True).add(1e-5).rsqrt()
    exact = wide * scale * weight
    assert found.dtype == torch.bfloat16
    assert (found != exact.bfloat16()).float().mean() < 0.01  # the order of the sum may move one
    assert (rms_norm(total.detach(), weight.detach().bfloat16(), 1e-5) != found).any()
    slope, expected = (
        torch.autograd.grad(y.float().sum(), (x, weight), retain_graph=True) for y in (found, exact)
    )
    torch.testing.assert_close(slope[0].float(), expected[0].float(), atol=0.05, rtol=0.05)
    torch.testing.assert_close(slope[1], expected[1], atol=1e-3, rtol=1e-3)
