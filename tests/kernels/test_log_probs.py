"""Log-probabilities of a linear head, compared with the plain formula in float64; gradients; small losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.kernels import log_probs
from gristmill.kernels.head import CappedHead
from gristmill.kernels.log_probs import linear_log_probs

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _case(tokens: int, size: int = 24, vocabulary: int = 101) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, size, generator=generator, dtype=torch.float64)
    head = torch.randn(vocabulary, size, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, vocabulary, (tokens,), generator=generator)
    return hidden.to(DEVICE), head.to(DEVICE), targets.to(DEVICE)


def _plain(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    wide = torch.promote_types(hidden.dtype, torch.float32)
    return torch.log_softmax((hidden @ head.T).to(wide), dim=1).gather(1, targets[:, None])[:, 0]


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("tokens", [0, 1, 7, 8, 9, 33])
@pytest.mark.parametrize("chunk", [1, 8, 1000])
@pytest.mark.parametrize("trained", [False, True])
def test_equals_the_plain_formula_and_its_gradients(tokens: int, chunk: int, trained: bool) -> None:
    hidden, head, targets = _case(tokens)
    upstream = torch.randn(tokens, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(DEVICE)
    inputs = [hidden.requires_grad_(), head.requires_grad_(trained)][: 2 if trained else 1]
    found, plain = linear_log_probs(hidden, head, targets, chunk), _plain(hidden, head, targets)
    torch.testing.assert_close(found, plain, atol=1e-12, rtol=1e-12)
    expected = torch.autograd.grad(plain, inputs, upstream)
    for ours, theirs in zip(torch.autograd.grad(found, inputs, upstream), expected):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("trained", [False, True])
def test_a_capped_head_caps_the_logits_of_values_and_gradients(trained: bool) -> None:
    hidden, head, targets = _case(9)
    inputs = [hidden.requires_grad_(), head.requires_grad_(trained)][: 2 if trained else 1]
    found = linear_log_probs(hidden, CappedHead(head, 1.5), targets, 4)
    plain = torch.log_softmax(1.5 * torch.tanh(hidden @ head.T / 1.5), 1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(found, plain, atol=1e-12, rtol=1e-12)
    both = (torch.autograd.grad(each.square().sum(), inputs) for each in (found, plain))
    torch.testing.assert_close(*both, atol=1e-12, rtol=1e-12)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("trained", [(True, False), (False, True), (True, True)])
def test_gradcheck(trained: tuple[bool, bool]) -> None:
    hidden, head, targets = _case(5, size=4, vocabulary=11)
    hidden.requires_grad_(trained[0])
    head.requires_grad_(trained[1])
    assert torch.autograd.gradcheck(
        lambda hidden, head: linear_log_probs(hidden, head, targets, 2), (hidden, head)
    )


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trained", [False, True])
def test_no_worse_than_the_plain_formula_of_that_precision(dtype: torch.dtype, trained: bool) -> None:
    exact_hidden, exact_head, targets = _case(64, size=64, vocabulary=499)
    upstream = torch.randn(64, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    inputs = [exact_hidden.to(dtype).requires_grad_(), (exact_head / 8).to(dtype).requires_grad_(trained)]
    exact = [x.detach().double().requires_grad_(x.requires_grad) for x in inputs]
    sought = slice(0, 2 if trained else 1)
    truth, plain, found = (
        _plain(*exact, targets),
        _plain(*inputs, targets),
        linear_log_probs(*inputs, targets, 16),
    )
    assert found.dtype == torch.float32
    slack = 1e-6 if dtype == torch.float32 else 2e-3
    assert (found - truth).abs().mean() <= (plain - truth).abs().mean() + slack
    gradients = zip(
        torch.autograd.grad(found, inputs[sought], upstream),
        torch.autograd.grad(plain, inputs[sought], upstream),
        torch.autograd.grad(truth, exact[sought], upstream.double()),
    )
    for ours, theirs, right in gradients:
        assert ours.dtype == dtype
        assert (ours - right).abs().mean() <= (theirs - right).abs().mean() + slack


@pytest.mark.usefixtures("form")
def test_stays_exact_where_the_token_is_almost_certain() -> None:
    """At a margin of 20 nats a float32 log_softmax is 0; the log-probability is -exp(-20)."""
    hidden = torch.tensor([[20.0, -50.0, -50.0]], device=DEVICE, requires_grad=True)
    head, targets = torch.eye(3, device=DEVICE), torch.tensor([0], device=DEVICE)
    found = linear_log_probs(hidden, head, targets)
    expected = _plain(hidden.detach().double(), head.double(), targets)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.item() < 0


@pytest.mark.usefixtures("form")
def test_reads_views() -> None:
    hidden, head, targets = _case(9)
    wide, tall = hidden.T.contiguous().T.requires_grad_(), head.repeat(1, 2)[:, :24]
    found = linear_log_probs(wide, tall, targets, 4)
    torch.testing.assert_close(found, _plain(hidden, head, targets))
    assert torch.autograd.grad(found.sum(), wide)[0].shape == hidden.shape


def test_keeps_nothing_of_the_size_of_the_logits() -> None:
    """Tensors saved between the passes are gradients of hidden's size, or the inputs themselves."""
    hidden, head, targets = _case(33)
    saved: list[int] = []

    def pack(kept: Tensor) -> Tensor:
        saved.append(kept.numel())
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        linear_log_probs(hidden.requires_grad_(), head, targets, 8)
        linear_log_probs(hidden, head.clone().requires_grad_(), targets, 8)
    assert max(saved) < 33 * 101


@pytest.mark.parametrize("wrong", ["dtype", "width", "count"])
def test_refuses_shapes_that_do_not_go_together(wrong: str) -> None:
    hidden, head, targets = _case(3)
    changes = {"dtype": (hidden.float(), head, targets), "width": (hidden[:, :5], head, targets)}
    arguments = changes.get(wrong, (hidden, head, targets[:2]))
    with pytest.raises(ValueError, match=r"give both the same dtype|must be"):
        linear_log_probs(*arguments)


def test_cost_counts_the_products() -> None:
    """8*M*H*V with a trained head, 4*M*H*V with a frozen one."""
    assert log_probs.cost(8192, 4096, 128256, 2).flop == 4 * 8192 * 4096 * 128256
    assert log_probs.cost(8192, 4096, 128256, 2, trained_head=True).flop == 8 * 8192 * 4096 * 128256
