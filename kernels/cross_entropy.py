"""The loss of a frozen head, fused: hidden states -> token losses, without ever holding all logits.

Logits are formed for a chunk of tokens at a time; the chunk's losses and, because the head is frozen,
its gradient with respect to the hidden states are computed there and then (4*M*H*V FLOP in all, M tokens,
H hidden, V vocabulary), so the backward pass is one multiplication. The largest transient is a chunk of
float32 logits. The idea of chunking with the gradient in the forward pass: Hsu et al., "Liger Kernel"
(arXiv 2410.10989).

The loss is softplus(logsumexp of the *other* logits - target logit), which stays exact where the target
wins by far: float32 ``logsumexp - target`` is 0 beyond a margin of 17 nats.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from . import dispatch
from .cost import Cost

#: Tokens whose logits exist at once on a CPU, few enough to stay near the cache, and on a GPU, enough to fill it.
CHUNK, GPU_CHUNK = 128, 1024
#: Where softplus(x) is x to the last bit of a float64 (torch's own border of 20 is too early for one).
LINEAR_ABOVE = 40.0


def linear_cross_entropy(
    hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of ``hidden @ head.T`` against ``targets``.

    ``hidden`` (tokens, H), ``head`` (V, H) of the same dtype and frozen, ``targets`` int64 (tokens,),
    ``weights`` float32 or float64 (tokens,): what each token's loss counts (1 / the number of trained
    tokens of the whole step makes accumulation and packing change nothing), ``chunk``: tokens whose logits
    exist at once, by default what suits the device.

    Returns the weighted sum of the losses (a scalar that can be differentiated with respect to
    ``hidden``), and the losses in nats (tokens,), detached. Both are float32 (float64 for float64 input).
    Raises ValueError for a head that requires a gradient.
    """
    if head.requires_grad:
        raise ValueError("linear_cross_entropy is for a frozen head; this one requires a gradient")
    chunk = chunk or chunk_size(hidden.device)
    total, losses = _LinearCrossEntropy.apply(hidden, head, targets, weights, chunk)  # type: ignore[no-untyped-call]
    return total, losses


def cost(tokens: int, size: int, vocabulary: int, itemsize: int) -> Cost:
    """Both passes together, for ``size`` = H: hidden states and head are read for the loss, the head again for the gradient."""
    head = vocabulary * size * itemsize
    return Cost(
        2 * head + tokens * (size * itemsize + 12),
        tokens * (size * itemsize + 4),
        4 * tokens * size * vocabulary,
    )


def chunk_size(device: torch.device) -> int:
    """Tokens whose logits exist at once, where the caller does not say."""
    return CHUNK if device.type == "cpu" else GPU_CHUNK


def token_losses(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The losses of some tokens, exact in the tail, and what their gradient is made of.

    ``logits`` float32 or float64 (tokens, V), used up; ``target`` int64 (tokens, 1). Returns the losses in
    nats (tokens,), the gap between the logsumexp of the other logits and the target's (tokens,), and the
    softmax over the others (tokens, V), 0 at the target: d loss / d logits = sigmoid(gap) * (that, with -1
    at the target).
    """
    if dispatch.on_triton(logits):
        from .gpu import cross_entropy as gpu

        gap = gpu.others(logits, target[:, 0].contiguous())
        return softplus(gap, threshold=LINEAR_ABOVE), gap, logits
    aim = logits.gather(1, target)
    logits.scatter_(1, target, float("-inf"))
    others = torch.softmax(logits, dim=1)
    # The largest of a softmax is exp(0) over its normaliser, which gives the logsumexp for nothing.
    log_others = logits.amax(dim=1, keepdim=True) - others.amax(dim=1, keepdim=True).log_()
    gap = (log_others - aim)[:, 0]
    return softplus(gap, threshold=LINEAR_ABOVE), gap, others


def _chunk(hidden: Tensor, head: Tensor, target: Tensor, weights: Tensor, gradient: Tensor | None) -> Tensor:
    """The losses of some tokens; their gradient goes into ``gradient``. What it takes is free when it returns, so that no two
    chunks are held at once."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    losses, gap, others = token_losses((hidden @ head.T).to(wide), target)
    if gradient is not None:
        slope = others.scatter_(1, target, -1.0).to(hidden.dtype)
        scale = (weights.to(wide) * torch.sigmoid(gap))[:, None]
        torch.mul(slope @ head, scale.to(hidden.dtype), out=gradient)
    return losses


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, chunk: int
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        losses = torch.empty(hidden.shape[0], dtype=wide, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, hidden.shape[0], chunk):
            part = slice(start, start + chunk)
            into = None if gradient is None else gradient[part]
            losses[part] = _chunk(hidden[part], head, targets[part, None], weights[part], into)
        ctx.gradient = gradient
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        d_hidden = None if gradient is None else gradient * upstream.to(gradient.dtype)
        return d_hidden, None, None, None, None
