"""Fused linear head and cross-entropy: hidden states -> token losses, without holding all logits.

Logits are computed for a chunk of tokens at a time. The head is frozen, so the chunk's gradient with respect
to the hidden states is computed together with its losses (4*M*H*V FLOP in total, M tokens, H hidden, V
vocabulary), and the backward pass is one multiplication. The largest temporary tensor is a chunk of logits:
float32 ones in the plain form, of the hidden states' dtype on a GPU. Chunking with the gradient in the
forward pass is from Hsu et al., "Liger Kernel" (arXiv 2410.10989).

The loss is computed as softplus(logsumexp of the *other* logits - target logit), which stays accurate if the
target logit is much larger than the others: float32 ``logsumexp - target`` is 0 beyond a margin of 17 nats.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from . import dispatch, forward_mode, products
from .cost import KernelCost
from .head import Head, capped, parts

#: Tokens whose logits exist at once: on a CPU, few enough for its cache; on a GPU, enough to fill it.
CHUNK, GPU_CHUNK = 128, 1024
#: Above this, softplus(x) equals x in float64 (torch's default threshold of 20 is too low for float64).
LINEAR_ABOVE = 40.0


def linear_cross_entropy(
    hidden: Tensor, head: Head, targets: Tensor, weights: Tensor, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy of ``hidden @ head.T`` (capped if the head is) against ``targets``.

    ``hidden`` (tokens, H) and ``head`` (V, H) have the same dtype; the head is frozen. ``targets``: int64
    (tokens,). ``weights``: float32 or float64 (tokens,), the weight of each token's loss; with 1 / the number
    of trained tokens in the whole step, the result does not depend on accumulation or packing. ``chunk``:
    tokens whose logits exist at once; the default depends on the device.

    Returns the weighted sum of the losses, a scalar that is differentiable with respect to ``hidden``, and
    the detached losses in nats (tokens,). Both are float32 (float64 for float64 input). Raises ValueError if
    the head requires a gradient.
    """
    if head.requires_grad:
        raise ValueError("linear_cross_entropy needs a frozen head, but this head requires a gradient")
    chunk = chunk or chunk_size(hidden.device)
    weight, cap = parts(head)
    total, losses = forward_mode.run(_LinearCrossEntropy, hidden, weight, cap, targets, weights, chunk)
    return total, losses


def cost(tokens: int, size: int, vocabulary: int, itemsize: int) -> KernelCost:
    """Cost of both passes together, for ``size`` = H.

    The hidden states and the head are read for the loss, and the head again for the gradient.
    """
    head = vocabulary * size * itemsize
    return KernelCost(
        2 * head + tokens * (size * itemsize + 12),
        tokens * (size * itemsize + 4),
        4 * tokens * size * vocabulary,
    )


def chunk_size(device: torch.device) -> int:
    """Return the default number of tokens whose logits exist at once."""
    return CHUNK if device.type == "cpu" else GPU_CHUNK


def chunk_logits(hidden: Tensor, head: Tensor, cap: float | None) -> tuple[Tensor, Tensor | None]:
    """Compute the logits of some tokens for :func:`token_slopes`, and the derivative of a cap.

    The kernel reads logits of hidden's dtype. The plain form, and a cap, need a float32 copy.
    """
    logits = products.times(hidden, head)
    if cap is None and dispatch.on_triton(logits):
        return logits, None
    logits = logits.to(torch.promote_types(hidden.dtype, torch.float32))
    return (logits, None) if cap is None else capped(logits, cap)


def float_copies(device: torch.device, cap: float | None) -> int:
    """Return how many float32 copies of a chunk's logits exist at once, for the memory plan."""
    return 0 if device.type == "cuda" and cap is None else 2


def token_slopes(
    logits: Tensor, target: Tensor, factors: Tensor | None = None, *, sloped: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute accurate losses of some tokens, and their gradient.

    ``logits``: (tokens, V), overwritten. ``target``: int64 (tokens, 1). Returns the losses in nats (tokens,),
    the gap between the logsumexp of the other logits and the target's logit (tokens,), and the slopes
    (tokens, V), of logits' dtype: the softmax over the other logits, with -1 at the target. The gradient of a
    loss is sigmoid(gap) times its slopes. With ``factors`` (tokens,), the slopes are multiplied by both.
    ``sloped``: whether the slopes are needed; otherwise, they may hold anything.
    """
    if dispatch.on_triton(logits):
        from .gpu import cross_entropy as gpu

        gap = gpu.slopes(logits, target[:, 0].contiguous(), factors, sloped)
        return softplus(gap, threshold=LINEAR_ABOVE), gap, logits
    aim = logits.gather(1, target)
    logits.scatter_(1, target, float("-inf"))
    others = torch.softmax(logits, dim=1)
    # The largest value of a softmax is exp(0) over its normalizer, which gives the logsumexp at no cost.
    log_others = logits.amax(dim=1, keepdim=True) - others.amax(dim=1, keepdim=True).log_()
    gap = (log_others - aim)[:, 0]
    if sloped:
        others.scatter_(1, target, -1.0)
        if factors is not None:
            others.mul_((torch.sigmoid(gap) * factors)[:, None])
    return softplus(gap, threshold=LINEAR_ABOVE), gap, others


def _chunk(
    hidden: Tensor,
    head: Tensor,
    cap: float | None,
    target: Tensor,
    weights: Tensor,
    gradient: Tensor | None,
) -> Tensor:
    """Compute the losses of some tokens, and write their gradient to ``gradient``.

    A function of its own, so that its temporary tensors are freed when it returns and no two chunks exist at
    once.
    """
    logits, bend = chunk_logits(hidden, head, cap)
    losses, gap, slopes = token_slopes(logits, target, sloped=gradient is not None)
    if gradient is not None:
        slopes = (slopes if bend is None else slopes.mul_(bend)).to(hidden.dtype)
        scale = (weights.to(gap.dtype) * torch.sigmoid(gap))[:, None]
        torch.mul(products.back(slopes, head), scale.to(hidden.dtype), out=gradient)
    return losses


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        cap: float | None,
        targets: Tensor,
        weights: Tensor,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        losses = torch.empty(hidden.shape[0], dtype=wide, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, hidden.shape[0], chunk):
            part = slice(start, start + chunk)
            into = None if gradient is None else gradient[part]
            losses[part] = _chunk(hidden[part], head, cap, targets[part, None], weights[part], into)
        ctx.gradient = gradient
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        d_hidden = None if gradient is None else gradient * upstream.to(gradient.dtype)
        return d_hidden, None, None, None, None, None
