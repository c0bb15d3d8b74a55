"""Causal attention over packed sequences: no token attends to another sequence.

Optionally, a token attends only to a sliding window of the last tokens (Beltagy et al., "Longformer", arXiv
2004.05150), and scores are capped by a tanh (Gemma 2, arXiv 2408.00118).

On a CPU, a block of queries is multiplied with its keys by plain matrix products (oneDNN, bf16), and the
probabilities are recomputed in the backward pass, as in FlashAttention-2 (Dao, arXiv 2307.08691). The query
heads that share a key head are stacked as rows, so grouped-query attention needs no copies. On a CPU this is
several times faster than ``scaled_dot_product_attention``, whose backward pass is slow there. On a GPU, all
sequences are computed in one launch of PyTorch's FlashAttention-2 if it has it for this GPU and dtype, and
otherwise one by one by ``scaled_dot_product_attention``. Neither has a cap, so that the plain form is used.

FLOP per head: 2*L*L*D forward, 5*L*L*D backward (causal, summed over sequences of length L).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from . import forward_mode
from .cost import KernelCost

#: Number of queries whose scores exist at once. Temporary memory is at most QUERIES * L * heads values.
QUERIES = 512
#: Sizes of a head that FlashAttention-2 has.
HEAD_SIZES = range(8, 257, 8)


def packed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Sequence[int],
    scale: float,
    *,
    window: int | None = None,
    cap: float | None = None,
) -> Tensor:
    """Compute causal attention within each of the packed sequences.

    ``q``: (tokens, heads, D). ``k`` and ``v``: (tokens, key heads, D). ``lengths``: tokens of each sequence,
    with sum = tokens. ``window``: number of tokens that a token attends to, itself included; None for all
    before it. ``cap``: scores become ``cap * tanh(scores / cap)``. Returns (tokens, heads, D).
    """
    if q.device.type == "cpu" or cap is not None or forward_mode.active():
        attended: Tensor = forward_mode.run(_PackedAttention, q, k, v, tuple(lengths), scale, window, cap)
        return attended
    if not lengths:
        return q * 1
    at_once = _varlen(q.device)
    if at_once is not None and q.dtype in (torch.bfloat16, torch.float16) and q.shape[2] in HEAD_SIZES:
        offsets, longest = _offsets(tuple(lengths), q.device), max(lengths)
        sight = (-1 if window is None else window - 1, 0)  # tokens before a token that it attends to
        found: Tensor = at_once(
            q, k, v, offsets, offsets, longest, longest, scale=scale, window_size=sight, enable_gqa=True
        )
        return found
    parts = []
    for sequence in zip(*(torch.split(x, list(lengths)) for x in (q, k, v))):
        one_q, one_k, one_v = (x.transpose(0, 1)[None] for x in sequence)
        tokens = one_q.shape[2]
        mask = None
        if window is not None and window < tokens:
            mask = ~_hidden(range(tokens), range(tokens), window, q.device)
        out = scaled_dot_product_attention(
            one_q, one_k, one_v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
        )
        parts.append(out[0].transpose(0, 1))
    return torch.cat(parts)


@cache
def _varlen(device: torch.device) -> Callable[..., Any] | None:
    """Return PyTorch's attention over packed sequences, if it has it for this GPU."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    on_gpu = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return varlen_attn if on_gpu else None


@lru_cache(maxsize=16)
def _offsets(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Return where each sequence begins, and the end: int32 (sequences + 1,). Made once for all layers."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32).to(device)


def pairs(lengths: Sequence[int], window: int | None = None) -> int:
    """Count twice the pairs of a token and one that it attends to, about: L*L for a sequence of L tokens."""
    if window is None:
        return sum(length * length for length in lengths)
    return sum(length * length - max(0, length - window) ** 2 for length in lengths)


def cost(
    lengths: Sequence[int],
    heads: int,
    key_heads: int,
    size: int,
    itemsize: int,
    *,
    backward: bool = False,
    window: int | None = None,
) -> KernelCost:
    """Cost of one pass over sequences of these ``lengths``, D = ``size``.

    Scores and probabilities are never written to memory.
    """
    squares = pairs(lengths, window) * size * heads
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


def _hidden(rows: range, keys: range, window: int | None, device: torch.device) -> Tensor:
    """Return which keys each row must not see: bool (rows, keys), by their positions."""
    row = torch.arange(rows.start, rows.stop, device=device)[:, None]
    key = torch.arange(keys.start, keys.stop, device=device)
    hidden = key > row
    return hidden if window is None else hidden | (key <= row - window)


@cache
def _ahead(queries: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return -inf for keys ahead of a row and 0 for the others, (queries, queries). Made once for all layers.

    To add it takes a quarter of the time of filling by a mask.
    """
    return torch.full((queries, queries), float("-inf"), dtype=dtype, device=device).triu_(1)


def _probabilities(
    q: Tensor, k: Tensor, block: _Block, window: int | None, cap: float | None
) -> tuple[Tensor, Tensor | None]:
    """Causal softmax of ``q @ k.T`` for a block: (groups, members * queries, keys).

    Also returns the derivative of the capped scores with respect to the scores, None without a cap.
    """
    scores, slope = q @ k.transpose(1, 2), None
    if cap is not None:
        turned = scores.div_(cap).tanh_()
        slope = 1 - turned.square()
        scores = turned.mul_(cap)
    seen, count = scores.view(q.shape[0], -1, len(block.rows), len(block.keys)), len(block.rows)
    if window is None:  # only the last keys may be ahead of a row
        seen[..., -count:] += _ahead(QUERIES, q.dtype, q.device)[:count, :count]
    else:
        seen.masked_fill_(_hidden(block.rows, block.keys, window, q.device), float("-inf"))
    return torch.softmax(scores, dim=-1), slope


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        lengths: tuple[int, ...],
        scale: float,
        window: int | None,
        cap: float | None,
    ) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.lengths, ctx.scale, ctx.window, ctx.cap = lengths, scale, window, cap
        out = torch.empty_like(q)
        groups = k.shape[1]
        for block in _blocks(lengths, window):
            rows, keys = block.slices()
            block_k, block_v = k[keys].transpose(0, 1), v[keys].transpose(0, 1)
            block_q = _grouped(q[rows] * scale, groups)
            probabilities, _ = _probabilities(block_q, block_k, block, window, cap)
            out[rows] = _ungrouped(probabilities @ block_v, len(block.rows))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        d_q, d_k, d_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        groups = k.shape[1]
        for block in _blocks(ctx.lengths, ctx.window):
            rows, keys = block.slices()
            block_k, block_v = k[keys].transpose(0, 1), v[keys].transpose(0, 1)
            block_q, upstream = _grouped(q[rows] * ctx.scale, groups), _grouped(d_out[rows], groups)
            probabilities, slope = _probabilities(block_q, block_k, block, ctx.window, ctx.cap)
            d_v[keys] += (probabilities.transpose(1, 2) @ upstream).transpose(0, 1)
            d_probabilities = upstream @ block_v.transpose(1, 2)
            d_scores = torch.ops.aten._softmax_backward_data(d_probabilities, probabilities, -1, q.dtype)
            if slope is not None:
                d_scores = d_scores.mul_(slope)
            d_q[rows] = _ungrouped(d_scores @ block_k, len(block.rows)) * ctx.scale
            d_k[keys] += (d_scores.transpose(1, 2) @ block_q).transpose(0, 1)
        return d_q, d_k, d_v, None, None, None, None


@dataclass(frozen=True, slots=True)
class _Block:
    """Some queries of a sequence and the keys that they may see, by their places in the pack."""

    rows: range
    keys: range

    def slices(self) -> tuple[slice, slice]:
        return slice(self.rows.start, self.rows.stop), slice(self.keys.start, self.keys.stop)


def _blocks(lengths: tuple[int, ...], window: int | None) -> list[_Block]:
    found = []
    begin = 0
    for length in lengths:
        for start in range(begin, begin + length, QUERIES):
            stop = min(start + QUERIES, begin + length)
            first = begin if window is None else max(begin, start - window + 1)
            found.append(_Block(range(start, stop), range(first, stop)))
        begin += length
    return found
