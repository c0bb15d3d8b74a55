"""Causal attention over packed sequences: no token attends to another sequence.

On a CPU, a block of queries is multiplied with its keys by plain matrix products (oneDNN, bf16), and the
probabilities are recomputed in the backward pass, as in FlashAttention-2 (Dao, arXiv 2307.08691). The query
heads that share a key head are stacked as rows, so grouped-query attention needs no copies. On a CPU this is
several times faster than ``scaled_dot_product_attention``, whose backward pass is slow there. On other
devices, ``scaled_dot_product_attention`` is used.

FLOP per head: 2*L*L*D forward, 5*L*L*D backward (causal, summed over sequences of length L).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from .cost import KernelCost

#: Number of queries whose scores exist at once. Temporary memory is at most QUERIES * L * heads values.
QUERIES = 512


def packed_attention(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], scale: float) -> Tensor:
    """Compute causal attention within each of the packed sequences.

    ``q``: (tokens, heads, D). ``k`` and ``v``: (tokens, key heads, D). ``lengths``: tokens of each sequence,
    with sum = tokens. Returns (tokens, heads, D).
    """
    if q.device.type == "cpu":
        attended: Tensor = _PackedAttention.apply(q, k, v, tuple(lengths), scale)  # type: ignore[no-untyped-call]
        return attended
    if not lengths:
        return q * 1
    parts = []
    for sequence in zip(*(torch.split(x, list(lengths)) for x in (q, k, v))):
        one_q, one_k, one_v = (x.transpose(0, 1)[None] for x in sequence)
        out = scaled_dot_product_attention(one_q, one_k, one_v, is_causal=True, scale=scale, enable_gqa=True)
        parts.append(out[0].transpose(0, 1))
    return torch.cat(parts)


def cost(
    lengths: Sequence[int], heads: int, key_heads: int, size: int, itemsize: int, *, backward: bool = False
) -> KernelCost:
    """Cost of one pass over sequences of these ``lengths``, D = ``size``.

    Scores and probabilities are never written to memory.
    """
    squares = sum(length * length for length in lengths) * size * heads
    queries, keys = (sum(lengths) * count * size * itemsize for count in (heads, key_heads))
    if backward:
        return KernelCost(3 * queries + 2 * keys, queries + 2 * keys, 5 * squares)
    return KernelCost(queries + 2 * keys, queries, 2 * squares)


def _grouped(x: Tensor, groups: int) -> Tensor:
    """Stack a group's heads as rows: (tokens, groups * members, D) -> (groups, members * tokens, D)."""
    tokens, heads, size = x.shape
    return x.view(tokens, groups, heads // groups, size).permute(1, 2, 0, 3).reshape(groups, -1, size)


def _ungrouped(x: Tensor, tokens: int) -> Tensor:
    """Invert :func:`_grouped`."""
    groups, rows, size = x.shape
    return x.view(groups, rows // tokens, tokens, size).permute(2, 0, 1, 3).reshape(tokens, -1, size)


def _probabilities(q: Tensor, k: Tensor, queries: int) -> Tensor:
    """Causal softmax of ``q @ k.T`` for the last ``queries`` positions.

    Returns (groups, members * queries, keys).
    """
    scores = q @ k.transpose(1, 2)
    ahead = torch.ones(queries, queries, dtype=torch.bool, device=q.device).triu_(1)
    scores.view(q.shape[0], -1, queries, k.shape[1])[..., -queries:].masked_fill_(ahead, float("-inf"))
    return torch.softmax(scores, dim=-1)


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.lengths, ctx.scale = lengths, scale
        out = torch.empty_like(q)
        for rows, keys in _blocks(lengths):
            groups = k.shape[1]
            block_k, block_v = k[keys].transpose(0, 1), v[keys].transpose(0, 1)
            probabilities = _probabilities(_grouped(q[rows] * scale, groups), block_k, rows.stop - rows.start)
            out[rows] = _ungrouped(probabilities @ block_v, rows.stop - rows.start)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        d_q, d_k, d_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        groups = k.shape[1]
        for rows, keys in _blocks(ctx.lengths):
            queries = rows.stop - rows.start
            block_k, block_v = k[keys].transpose(0, 1), v[keys].transpose(0, 1)
            block_q, upstream = _grouped(q[rows] * ctx.scale, groups), _grouped(d_out[rows], groups)
            probabilities = _probabilities(block_q, block_k, queries)
            d_v[keys] += (probabilities.transpose(1, 2) @ upstream).transpose(0, 1)
            d_probabilities = upstream @ block_v.transpose(1, 2)
            d_scores = torch.ops.aten._softmax_backward_data(d_probabilities, probabilities, -1, q.dtype)
            d_q[rows] = _ungrouped(d_scores @ block_k, queries) * ctx.scale
            d_k[keys] += (d_scores.transpose(1, 2) @ block_q).transpose(0, 1)
        return d_q, d_k, d_v, None, None


def _blocks(lengths: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Return for each block of queries its rows, and the rows of its visible keys."""
    found = []
    begin = 0
    for length in lengths:
        for start in range(begin, begin + length, QUERIES):
            stop = min(start + QUERIES, begin + length)
            found.append((slice(start, stop), slice(begin, stop)))
        begin += length
    return found
