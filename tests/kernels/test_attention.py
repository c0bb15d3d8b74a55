"""Packed attention against plain attention sequence by sequence, its gradient, and its isolation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from gristmill.kernels import attention
from gristmill.kernels.attention import packed_attention


def _case(tokens: int, heads: int, groups: int, size: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    shapes = ((tokens, heads, size), (tokens, groups, size), (tokens, groups, size))
    q, k, v = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes
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


def test_a_sequence_neither_sees_nor_moves_its_neighbour() -> None:
    q, k, v = _case(12, 4, 2)
    (gradient,) = torch.autograd.grad(packed_attention(q, k, v, [5, 7], 0.3)[:5].sum(), k)
    assert gradient[:5].abs().sum() > 0
    assert gradient[5:].abs().sum() == 0
