"""Log-probabilities of given tokens under a linear head, without holding all logits.

For losses that compare whole responses, such as DPO (Rafailov et al., arXiv 2305.18290). There, the weight of
a token's loss is known only after all log-probabilities are computed. A token's log-probability depends only
on its own hidden state. So with a frozen head its gradient is computed in the forward pass, up to the scalar
factor that the backward pass supplies (4*M*H*V FLOP for M tokens, H hidden, V vocabulary; 2*M*H*V without a
gradient). The gradient of a trained head is a sum over tokens that includes this factor, so its logits are
recomputed in the backward pass (8*M*H*V). The largest temporary tensor is a chunk of logits. Small losses
stay accurate: see :mod:`.cross_entropy`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import forward_mode, products
from .cost import KernelCost
from .cross_entropy import chunk_logits, chunk_size, token_slopes
from .head import Head, parts


def linear_log_probs(hidden: Tensor, head: Head, targets: Tensor, chunk: int | None = None) -> Tensor:
    """Compute ``log_softmax(hidden @ head.T)`` at ``targets``, with capped logits if the head is capped.

    ``hidden`` (tokens, H) and ``head`` (V, H) have the same dtype. ``targets``: int64 (tokens,), each in [0,
    V). ``chunk``: tokens whose logits exist at once; the default depends on the device. Returns nats, float32
    (tokens,) (float64 for float64 input), differentiable once with respect to ``hidden`` and ``head`` if they
    require a gradient. The head's gradient is summed in float32. Raises ValueError for shapes or dtypes that
    do not match.
    """
    weight, cap = parts(head)
    if hidden.dtype != weight.dtype:
        raise ValueError(f"hidden is {hidden.dtype} and head is {weight.dtype}; give both the same dtype")
    if hidden.dim() != 2 or weight.dim() != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)} and head {tuple(weight.shape)} must be (tokens, H) and (V, H)"
        )
    if targets.shape != hidden.shape[:1]:
        raise ValueError(
            f"targets {tuple(targets.shape)} must be ({hidden.shape[0]},), one for each hidden state"
        )
    chunk = chunk or chunk_size(hidden.device)
    graded = torch.is_grad_enabled() and hidden.requires_grad
    found: Tensor = forward_mode.run(_LinearLogProbs, hidden, weight, cap, targets, chunk, graded)
    return found


def cost(tokens: int, size: int, vocabulary: int, itemsize: int, trained_head: bool = False) -> KernelCost:
    """Cost of forward and backward together, for ``size`` = H.

    The head is read once for each product.
    """
    products = 4 if trained_head else 2
    read = products * vocabulary * size * itemsize + 2 * tokens * size * itemsize
    written = tokens * (size * itemsize + 4) + (vocabulary * size * itemsize if trained_head else 0)
    return KernelCost(read, written, 2 * products * tokens * size * vocabulary)


class _LinearLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, cap: float | None, targets: Tensor, chunk: int, graded: bool
    ) -> Tensor:
        found = hidden.new_empty(hidden.shape[0], dtype=torch.promote_types(hidden.dtype, torch.float32))
        slopes = torch.empty_like(hidden) if graded and not head.requires_grad else None
        ones = None if slopes is None else torch.ones_like(found)
        for start in range(0, hidden.shape[0], chunk):
            part = slice(start, start + chunk)
            upstream = None if ones is None else ones[part]
            losses, slope = _chunk(hidden[part], head, cap, targets[part], upstream)
            found[part] = losses.neg_()
            if slopes is not None and slope is not None:
                slopes[part] = products.back(slope, head)
            del losses, slope  # only one chunk exists at a time
        ctx.chunk, ctx.cap = chunk, cap
        ctx.save_for_backward(*((hidden, head, targets) if slopes is None else (slopes,)))
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        kept: tuple[Tensor, ...] = ctx.saved_tensors
        if len(kept) == 1:
            (slopes,) = kept
            return slopes * upstream[:, None].to(slopes.dtype), None, None, None, None, None
        hidden, head, targets = kept
        d_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        d_head = torch.zeros_like(head, dtype=upstream.dtype)
        for start in range(0, hidden.shape[0], ctx.chunk):
            part = slice(start, start + ctx.chunk)
            _, slope = _chunk(hidden[part], head, ctx.cap, targets[part], upstream[part])
            assert slope is not None
            if d_hidden is not None:
                d_hidden[part] = products.back(slope, head)
            d_head += slope.T @ hidden[part]
            del slope, _
        return d_hidden, d_head.to(head.dtype), None, None, None, None


def _chunk(
    hidden: Tensor, head: Tensor, cap: float | None, targets: Tensor, upstream: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the losses of some tokens, and the gradient of their log-probabilities.

    The gradient is with respect to the logits, in hidden's dtype and multiplied by ``upstream`` (tokens,);
    None without that.
    """
    logits, bend = chunk_logits(hidden, head, cap)
    if upstream is None:
        return token_slopes(logits, targets[:, None], sloped=False)[0], None
    losses, _, slopes = token_slopes(logits, targets[:, None], -upstream)
    return losses, (slopes if bend is None else slopes.mul_(bend)).to(hidden.dtype)
