"""Packed attention compared with plain attention per sequence, its gradient, and isolation of sequences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from gristmill.kernels import attention
from gristmill.kernels.attention import packed_attention

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _case(tokens: int, heads: int, groups: int, size: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    shapes = ((tokens, heads, size), (tokens, groups, size), (tokens, groups, size))
    q, k, v = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE).requires_grad_()
        for shape in shapes
    )
    return q, k, v


def _plain(q: Tensor, k: Tensor, v: Tensor, lengths: list[int], scale: float) -> Tensor:
    parts = []
    for sequence in zip(*(torch.split(x, lengths) for x in (q, k, v))):
        one = [x.transpose(0, 1)[None] for x in sequence]
        parts.append(
            scaled_dot_product_attention(*one, is_causal=True, scale=scale, enable_gqa=True)[0].transpose(
                0, 1
            )
        )
    return torch.cat(parts)


@pytest.mark.parametrize("lengths", [[1], [5], [3, 1, 9], [17, 16]])
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("queries", [4, 512])
def test_equals_plain_attention(
    lengths: list[int], heads: int, groups: int, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "QUERIES", queries)
    q, k, v = _case(sum(lengths), heads, groups)
    found, expected = packed_attention(q, k, v, lengths, 0.3), _plain(q, k, v, lengths, 0.3)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    upstream = torch.randn_like(found)
    for mine, plain in zip(
        torch.autograd.grad(found, (q, k, v), upstream), torch.autograd.grad(expected, (q, k, v), upstream)
    ):
        torch.testing.assert_close(mine, plain, atol=1e-12, rtol=1e-12)


def test_gradcheck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "QUERIES", 2)
    q, k, v = _case(5, 4, 2, size=3)
    assert torch.autograd.gradcheck(lambda *x: packed_attention(*x, [3, 2], 0.5), (q, k, v))


def test_a_sequence_neither_sees_nor_moves_its_neighbor() -> None:
    q, k, v = _case(12, 4, 2)
    (gradient,) = torch.autograd.grad(packed_attention(q, k, v, [5, 7], 0.3)[:5].sum(), k)
    assert gradient[:5].abs().sum() > 0
    assert gradient[5:].abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_worse_than_plain_attention_of_that_precision(dtype: torch.dtype) -> None:
    exact = [part.detach().to(dtype) for part in _case(150, 4, 2, size=16)]
    results = []
    for function, kind in ((packed_attention, dtype), (_plain, dtype), (_plain, torch.float64)):
        q, k, v = (part.to(kind).requires_grad_() for part in exact)
        out = function(q, k, v, [100, 50], 0.25)
        results.append([out, *torch.autograd.grad(out.double().square().sum(), (q, k, v))])
    for ours, theirs, truth in zip(*results):
        slack = 1e-6 if dtype == torch.float32 else 5e-3
        assert (ours - truth).abs().mean() <= (theirs - truth).abs().mean() + slack * truth.abs().mean()


def test_reads_the_parts_of_one_projection() -> None:
    generator = torch.Generator().manual_seed(2)
    fused = torch.randn(9, 8, 6, generator=generator, dtype=torch.float64).to(DEVICE).requires_grad_()
    q, k, v = fused.split([4, 2, 2], dim=1)
    found = packed_attention(q, k, v, [4, 5], 0.3)
    expected = _plain(q, k, v, [4, 5], 0.3)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(out.square().sum(), fused) for out in (found, expected)))


def test_cost_counts_each_sequence_on_its_own() -> None:
    found = attention.cost([100, 50], 4, 2, 16, 2)
    assert found.flop == 2 * (100**2 + 50**2) * 4 * 16
    assert found.moved == 2 * 150 * 16 * (4 + 2) * 2
    assert attention.cost([100], 4, 2, 16, 2, backward=True).flop == 5 * 100**2 * 4 * 16


def test_of_no_tokens_it_makes_none() -> None:
    q, k, v = _case(0, 4, 2)
    out = packed_attention(q, k, v, [], 0.3)
    assert out.shape == q.shape
    assert torch.autograd.grad(out.sum(), q)[0].shape == q.shape


def _formula(
    q: Tensor, k: Tensor, v: Tensor, lengths: list[int], scale: float, window: int | None, cap: float | None
) -> Tensor:
    """Attention written plainly: scores, cap, mask, softmax."""
    parts = []
    for one_q, one_k, one_v in zip(*(torch.split(x, lengths) for x in (q, k, v))):
        members = one_q.shape[1] // one_k.shape[1]
        keys, values = (x.repeat_interleave(members, dim=1) for x in (one_k, one_v))
        scores = torch.einsum("qhd,khd->hqk", one_q, keys) * scale
        if cap is not None:
            scores = cap * torch.tanh(scores / cap)
        place = torch.arange(len(one_q), device=q.device)
        back = place[:, None] - place
        hidden = (back < 0) | (back >= (window or len(one_q)))
        shares = scores.masked_fill(hidden, float("-inf")).softmax(2)
        parts.append(torch.einsum("hqk,khd->qhd", shares, values))
    return torch.cat(parts)


@pytest.mark.parametrize("window", [1, 3, 8, 40, None])
@pytest.mark.parametrize("cap", [None, 0.4])
@pytest.mark.parametrize("queries", [4, 512])
def test_windows_and_caps_equal_the_formula(
    window: int | None, cap: float | None, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "QUERIES", queries)
    lengths = [1, 17, 9]
    q, k, v = _case(27, 4, 2)
    found = packed_attention(q, k, v, lengths, 0.7, window=window, cap=cap)
    expected = _formula(q, k, v, lengths, 0.7, window, cap)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    upstream = torch.randn_like(found)
    gradients = (torch.autograd.grad(out, (q, k, v), upstream) for out in (found, expected))
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-12)


def test_a_window_reads_no_keys_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "QUERIES", 4)
    widest = max(len(block.keys) for block in attention._blocks((100,), 6))
    assert widest == 4 + 6 - 1
    assert attention.pairs([10], None) == attention.pairs([10], 10) == 100
    assert attention.pairs([10, 3], 4) == 100 - 36 + 9
    found, whole = (attention.cost([100], 4, 2, 16, 2, window=window).flop for window in (10, None))
    assert found == 2 * (100**2 - 90**2) * 4 * 16 < whole


def test_a_gpu_computes_all_sequences_in_one_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's varlen attention on tensors without values, which has its shapes and its gradient."""
    from torch.nn.attention.varlen import varlen_attn

    asked: list[dict[str, object]] = []

    def noted(*given: Tensor, **settings: object) -> Tensor:
        asked.append(settings)
        found: Tensor = varlen_attn(*given, **settings)  # type: ignore[arg-type]
        return found

    monkeypatch.setattr(attention, "_varlen", lambda device: noted)
    q = torch.empty(12, 4, 16, dtype=torch.bfloat16, device="meta", requires_grad=True)
    k, v = (torch.empty(12, 2, 16, dtype=torch.bfloat16, device="meta", requires_grad=True) for _ in range(2))
    for window, sight in ((None, (-1, 0)), (3, (2, 0))):
        out = packed_attention(q, k, v, [5, 7], 0.3, window=window)
        assert out.shape == q.shape
        gradients = torch.autograd.grad(out, (q, k, v), torch.empty_like(out))
        assert [each.shape for each in gradients] == [each.shape for each in (q, k, v)]
        assert asked.pop() == {"scale": 0.3, "window_size": sight, "enable_gqa": True}
    packed_attention(q.float(), k.float(), v.float(), [5, 7], 0.3)
    packed_attention(q[..., :12], k[..., :12], v[..., :12], [5, 7], 0.3)
    assert not asked


def test_the_places_of_sequences_are_made_once_for_all_layers() -> None:
    places = attention._offsets((5, 7), DEVICE)
    assert places.tolist() == [0, 5, 12]
    assert places.dtype == torch.int32
    assert attention._offsets((5, 7), DEVICE) is places
