"""The fused loss compared with the plain one in float64, its gradient, and its accuracy for small losses."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from gristmill.kernels import dispatch
from gristmill.kernels.cross_entropy import chunk_logits, cost, linear_cross_entropy, token_slopes
from gristmill.kernels.head import CappedHead

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _case(tokens: int, hidden: int = 24, vocabulary: int = 101, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(tokens)
    h = torch.randn(tokens, hidden, generator=generator, dtype=dtype).to(DEVICE).requires_grad_()
    head = torch.randn(vocabulary, hidden, generator=generator, dtype=dtype)
    targets = torch.randint(0, vocabulary, (tokens,), generator=generator)
    weights = torch.rand(tokens, generator=generator, dtype=torch.float64)
    return h, head.to(DEVICE), targets.to(DEVICE), weights.to(DEVICE)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("tokens", [0, 1, 7, 8, 9, 33])
@pytest.mark.parametrize("chunk", [1, 8, 1000])
def test_equals_the_plain_loss_and_its_gradient(tokens: int, chunk: int) -> None:
    h, head, targets, weights = _case(tokens)
    total, losses = linear_cross_entropy(h, head, targets, weights, chunk)
    (gradient,) = torch.autograd.grad(total * 3, h)
    plain = cross_entropy(h @ head.T, targets, reduction="none")
    (expected,) = torch.autograd.grad((plain * weights).sum() * 3, h)
    torch.testing.assert_close(losses, plain.detach(), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(total, (plain * weights).sum(), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(gradient, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.usefixtures("form")
def test_a_capped_head_caps_the_logits_of_loss_and_gradient() -> None:
    h, head, targets, weights = _case(9)
    total, losses = linear_cross_entropy(h, CappedHead(head, 1.5), targets, weights, 4)
    plain = cross_entropy(1.5 * torch.tanh(h @ head.T / 1.5), targets, reduction="none")
    torch.testing.assert_close(losses, plain.detach(), atol=1e-12, rtol=1e-12)
    both = (torch.autograd.grad(each, h) for each in (total, (plain * weights).sum()))
    torch.testing.assert_close(*both, atol=1e-12, rtol=1e-12)


@pytest.mark.usefixtures("form")
def test_gradcheck() -> None:
    h, head, targets, weights = _case(5, hidden=4, vocabulary=11)
    assert torch.autograd.gradcheck(lambda h: linear_cross_entropy(h, head, targets, weights, 2)[0], (h,))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_worse_than_the_plain_loss_of_that_precision(dtype: torch.dtype) -> None:
    exact_h, exact_head, targets, weights = _case(64, hidden=64, vocabulary=499)
    h, head = exact_h.detach().to(dtype).requires_grad_(), (exact_head / 8).to(dtype)
    truth_h = h.detach().double().requires_grad_()
    truth = cross_entropy(truth_h @ head.double().T, targets, reduction="none")
    (truth_gradient,) = torch.autograd.grad((truth * weights).sum(), truth_h)
    plain = cross_entropy((h @ head.T).float(), targets, reduction="none")
    (plain_gradient,) = torch.autograd.grad((plain * weights.float()).sum(), h)
    total, losses = linear_cross_entropy(h, head, targets, weights.float(), 16)
    (gradient,) = torch.autograd.grad(total, h)
    slack = 1e-6 if dtype == torch.float32 else 1e-2
    assert (losses - truth).abs().mean() <= (plain - truth).abs().mean() + slack
    assert (gradient - truth_gradient).abs().mean() <= (plain_gradient - truth_gradient).abs().mean() + slack


@pytest.mark.usefixtures("form")
def test_stays_exact_where_the_target_wins_by_far() -> None:
    """At a margin of 20 nats float32 logsumexp - logit is 0; the loss is exp(-20)."""
    head, targets = torch.eye(3, device=DEVICE), torch.tensor([0], device=DEVICE)
    h = torch.tensor([[20.0, 0.0, -50.0]], device=DEVICE, requires_grad=True)
    total, losses = linear_cross_entropy(h, head, targets, torch.ones(1, device=DEVICE))
    expected = cross_entropy(h.detach().double() @ head.double(), targets)
    assert losses.item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.item() > 0
    (gradient,) = torch.autograd.grad(total, h)
    assert gradient[0, 1].item() == pytest.approx(expected.item(), rel=1e-5)


def test_refuses_a_head_that_trains() -> None:
    h, head, targets, weights = _case(2)
    with pytest.raises(ValueError, match="frozen head"):
        linear_cross_entropy(h, head.requires_grad_(), targets, weights)


@pytest.mark.usefixtures("form")
def test_reads_views() -> None:
    h, head, targets, weights = _case(9)
    wide, tall = h.detach().T.contiguous().T.requires_grad_(), head.repeat(1, 2)[:, :24]
    total, losses = linear_cross_entropy(wide, tall, targets, weights, 4)
    torch.testing.assert_close(losses, cross_entropy(h.detach() @ head.T, targets, reduction="none"))
    expected = linear_cross_entropy(h, head, targets, weights, 4)[0]
    torch.testing.assert_close(torch.autograd.grad(total, wide), torch.autograd.grad(expected, h))


def test_cost_is_two_products() -> None:
    found = cost(8192, 4096, 128256, 2)
    assert found.flop == 4 * 8192 * 4096 * 128256
    assert found.moved == 2 * 128256 * 4096 * 2 + 8192 * (2 * 4096 * 2 + 16)


def test_the_kernel_reads_logits_of_the_models_dtype() -> None:
    """A float32 copy of a chunk's logits would take twice their memory, and two more passes over it."""
    hidden, head = torch.randn(3, 8, device=DEVICE).bfloat16(), torch.randn(11, 8, device=DEVICE).bfloat16()
    dtypes = []
    for form in ("plain", "triton"):
        with dispatch.use(form):
            dtypes += [chunk_logits(hidden, head, cap)[0].dtype for cap in (None, 2.0)]
    assert dtypes == [torch.float32, torch.float32, torch.bfloat16, torch.float32]


def test_both_forms_have_the_same_slopes_in_bfloat16() -> None:
    logits = torch.randn(5, 300, generator=torch.Generator().manual_seed(0)).to(DEVICE).bfloat16()
    target, factors = torch.tensor([[0], [299], [7], [150], [1]], device=DEVICE), torch.rand(5, device=DEVICE)
    for given in (None, factors):
        with dispatch.use("plain"):
            losses, gap, slopes = token_slopes(logits.float(), target, given)
        with dispatch.use("triton"):
            found = token_slopes(logits.clone(), target, given)
        torch.testing.assert_close(found[0], losses)
        torch.testing.assert_close(found[1], gap)
        torch.testing.assert_close(found[2], slopes.bfloat16())


def test_the_kernel_writes_no_slopes_that_nobody_needs() -> None:
    logits, target = torch.randn(2, 20, device=DEVICE), torch.tensor([[3], [4]], device=DEVICE)
    with dispatch.use("triton"):
        kept = logits.clone()
        losses = token_slopes(kept, target, sloped=False)[0]
        assert torch.equal(kept, logits)
        torch.testing.assert_close(losses, cross_entropy(logits, target[:, 0], reduction="none"))
