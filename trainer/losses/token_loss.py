"""Losses that are means over tokens: their common part, and the cross-entropy.

Such a loss is a function of the logits of a token. It is computed for a chunk of tokens at a time, together
with its gradient with respect to the hidden states (the head is frozen). So the full logits are never held in
memory, as in Hsu et al., "Liger Kernel" (arXiv 2410.10989).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...contracts.inference import Message
from ...contracts.rows import Row, reasoned_messages_of
from ...kernels import forward_mode
from ...kernels.cross_entropy import CHUNK, linear_cross_entropy
from ...kernels.head import Head, capped, parts
from ...kernels.log_probs import linear_log_probs
from ..data.chat import ChatEncoder
from ..data.examples import Example
from ..data.packs import Pack
from ..data.read_rows import read_messages, row_weight
from ..data.text import TextEncoder
from ..model.decoder import Decoder
from .objective import Objective, PackLoss, StepContext

#: (float32 or float64 logits (tokens, V), slice of the pack's tokens) -> losses (tokens,), nats.
LogitLoss = Callable[[Tensor, slice], Tensor]


class TokenLosses(Protocol):
    """Computes one loss per token."""

    def __call__(
        self, hidden: Tensor, head: Head, pack: Pack, weights: Tensor, step_context: StepContext
    ) -> tuple[Tensor, Tensor]:
        """Return the differentiable sum of ``weights`` times losses, and the detached losses (trained,).

        ``hidden`` (trained, H): hidden states of the positions whose next token is trained on. ``head`` (V,
        H). ``weights`` (trained,).
        """
        ...


def linear_token_loss(hidden: Tensor, head: Head, loss: LogitLoss, chunk: int = CHUNK) -> Tensor:
    """Apply ``loss`` to the logits ``hidden @ head.T`` (capped if the head is), ``chunk`` tokens at a time.

    Returns losses (tokens,), float32 (float64 for float64 input), differentiable once with respect to
    ``hidden`` (tokens, H) and ``head`` (V, H). For a head that requires a gradient, logits are computed again
    in the backward pass, since its gradient is a sum over tokens; it is summed in float32.
    """
    graded = torch.is_grad_enabled() and hidden.requires_grad and not head.requires_grad
    weight, cap = parts(head)
    seen = loss if cap is None else lambda logits, part: loss(capped(logits, cap)[0], part)
    losses: Tensor = forward_mode.run(_LinearTokenLoss, hidden, weight, seen, chunk, graded)
    return losses


def _chunk(hidden: Tensor, head: Tensor, loss: LogitLoss, part: slice, slopes: Tensor | None) -> Tensor:
    """Compute the losses of the tokens ``part``, and write their gradient to ``slopes``.

    A function of its own, so that its temporary tensors are freed when it returns.
    """
    logits = (hidden @ head.T).to(torch.promote_types(hidden.dtype, torch.float32))
    if slopes is None:
        return loss(logits, part)
    logits.requires_grad_()
    with torch.enable_grad():
        found = loss(logits, part)
        (slope,) = torch.autograd.grad(found.sum(), logits)
    torch.mm(slope.to(hidden.dtype), head, out=slopes)
    return found.detach()


class _LinearTokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, loss: LogitLoss, chunk: int, graded: bool) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        losses = hidden.new_empty(hidden.shape[0], dtype=wide)
        slopes = torch.empty_like(hidden) if graded else None
        for start in range(0, hidden.shape[0], chunk):
            part = slice(start, start + chunk)
            losses[part] = _chunk(hidden[part], head, loss, part, None if slopes is None else slopes[part])
        ctx.slopes, ctx.loss, ctx.chunk = slopes, loss, chunk
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(hidden, head)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.needs_input_grad[1]:
            hidden, head = ctx.saved_tensors
            return *_with_head(hidden, head, ctx.loss, ctx.chunk, upstream), None, None, None
        d_hidden = None if ctx.slopes is None else ctx.slopes * upstream[:, None].to(ctx.slopes.dtype)
        return d_hidden, None, None, None, None


def _with_head(
    hidden: Tensor, head: Tensor, loss: LogitLoss, chunk: int, upstream: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the hidden states and of the head, given those of the losses (tokens,)."""
    d_hidden, d_head = torch.empty_like(hidden), torch.zeros_like(head, dtype=upstream.dtype)
    for start in range(0, hidden.shape[0], chunk):
        part = slice(start, start + chunk)
        logits = (hidden[part] @ head.T).to(upstream.dtype).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(loss(logits, part), logits, upstream[part])
        slope = slope.to(hidden.dtype)
        torch.mm(slope, head, out=d_hidden[part])
        d_head += slope.T @ hidden[part]
    return d_hidden, d_head.to(head.dtype)


class TokenMean(Objective):
    """A weighted mean over the trained tokens of a step. ``losses``: what is minimized.

    A row's column ``weight`` (a positive number) is the weight of the row.
    """

    plain: ClassVar[bool] = True

    def __init__(self, losses: TokenLosses) -> None:
        self.losses = losses

    def count(self, example: Example) -> float:
        return example.weight * sum(sequence.total_weight for sequence in example.sequences)

    def loss(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss:
        hidden = model(pack.ids, pack.lengths).index_select(0, pack.places)
        weights = pack.weights * pack.row_weights()[pack.owners] / step_context.count
        wide = torch.promote_types(hidden.dtype, torch.float32)
        total, losses = self.losses(hidden, model.head, pack, weights.to(wide), step_context)
        sums = pack.sums(losses.double() * pack.weights)
        return PackLoss(total, sums / pack.sums(pack.weights))


class TokenObjective(TokenMean):
    """A mean over the trained tokens of conversations.

    ``read``: returns the conversation of a row. A row's column ``token_weights`` (a number >= 0 for each
    token of the response and for its end of turn) holds the weights of its tokens; its column
    ``span_weights`` holds those of spans of the response instead.
    """

    def __init__(
        self, losses: TokenLosses, read: Callable[[Row], list[Message]] = reasoned_messages_of
    ) -> None:
        super().__init__(losses)
        self.read = read

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        messages = read_messages(row, self.read)
        weights = row.get("token_weights"), row.get("tools"), row.get("span_weights")
        answers = encoder.encode_turns(messages, *weights)
        return Example(row["_id"], tuple(answers), row_weight(row), apart=True)


class TextObjective(TokenMean):
    """-log p of each token of plain texts, which are in the column ``column`` of the rows."""

    teaches_to_stop = False

    def __init__(self, column: str) -> None:
        super().__init__(cross_entropy)
        self.column = column

    def encode(self, row: Row, encoder: TextEncoder) -> Example:
        return Example(row["_id"], tuple(encoder.encode(row.get(self.column))), row_weight(row), apart=True)


def cross_entropy(
    hidden: Tensor, head: Head, pack: Pack, weights: Tensor, step_context: StepContext
) -> tuple[Tensor, Tensor]:
    """-log p(token), fused: see ``kernels/cross_entropy.py``, and ``log_probs.py`` for a trained head."""
    if head.requires_grad:
        found = -linear_log_probs(hidden, head, pack.targets)
        return (found * weights).sum(), found.detach()
    return linear_cross_entropy(hidden, head, pack.targets, weights)
