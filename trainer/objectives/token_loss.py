"""Losses that are means over tokens: the part that all of them share, and the cross-entropy.

Such a loss is a function of a token's logits. It is computed for a chunk of tokens at a time, with its gradient with
respect to the hidden states there and then (the head is frozen), so all logits never exist; after Hsu et al.,
"Liger Kernel" (arXiv 2410.10989).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...kernels.cross_entropy import CHUNK, linear_cross_entropy
from ...pipelines.inference import Message
from ...pipelines.records import Row, messages_of
from ..chat import ChatEncoder
from ..examples import Example
from ..model import Decoder
from ..packs import Pack
from .objective import Moment, PackLoss

#: Logits in float32 or float64 (tokens, V), and which tokens of all they are -> losses (tokens,), nats.
LogitLoss = Callable[[Tensor, slice], Tensor]


class TokenLosses(Protocol):
    """A loss a token."""

    def __call__(
        self, hidden: Tensor, head: Tensor, pack: Pack, weights: Tensor, moment: Moment
    ) -> tuple[Tensor, Tensor]:
        """The sum of ``weights`` (trained,) times the losses, which can be differentiated, and the losses (trained,),
        detached. ``hidden`` (trained, H): of the positions whose next token is trained on; ``head`` (V, H)."""
        ...


def linear_token_loss(hidden: Tensor, head: Tensor, loss: LogitLoss, chunk: int = CHUNK) -> Tensor:
    """``loss`` of the logits ``hidden @ head.T``, ``chunk`` tokens at a time: (tokens,), float32 (float64 for
    float64 input). Differentiable once with respect to ``hidden`` (tokens, H); ``head`` (V, H) is frozen.
    Raises ValueError for a head that requires a gradient."""
    if head.requires_grad:
        raise ValueError("linear_token_loss is for a frozen head; this one requires a gradient")
    graded = torch.is_grad_enabled() and hidden.requires_grad
    losses: Tensor = _LinearTokenLoss.apply(hidden, head, loss, chunk, graded)  # type: ignore[no-untyped-call]
    return losses


def _chunk(hidden: Tensor, head: Tensor, loss: LogitLoss, part: slice, slopes: Tensor | None) -> Tensor:
    """The losses of the tokens ``part``; their gradient goes into ``slopes``. What it takes is free when it returns."""
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
        ctx.slopes = slopes
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden = None if ctx.slopes is None else ctx.slopes * upstream[:, None].to(ctx.slopes.dtype)
        return d_hidden, None, None, None, None


class TokenObjective:
    """An objective that is a weighted mean over the step's trained tokens, of a row's one sequence.

    ``losses``: what is minimised. ``read``: the conversation of a row. A row's column ``weight`` (a positive number) is
    what it counts beside others; its column ``token_weights`` (a number, at least 0, for each token of the response
    and its end of turn) what each token counts in it.
    """

    def __init__(self, losses: TokenLosses, read: Callable[[Row], list[Message]] = messages_of) -> None:
        self.losses, self.read = losses, read

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        tokens = encoder.encode(self.read(row), row.get("token_weights"))
        return Example(row["_id"], (tokens,), row_weight(row))

    def count(self, example: Example) -> float:
        return example.weight * example.sequences[0].total_weight

    def prepare(self, model: Decoder, examples: Sequence[Example], capacity: int) -> list[Example]:
        return list(examples)

    def loss(self, model: Decoder, pack: Pack, moment: Moment) -> PackLoss:
        hidden = model(pack.ids, pack.lengths).index_select(0, pack.places)
        weights = pack.weights * pack.row_weights()[pack.owners] / moment.count
        wide = torch.promote_types(hidden.dtype, torch.float32)
        total, losses = self.losses(hidden, model.head, pack, weights.to(wide), moment)
        sums = pack.sums(losses.double() * pack.weights)
        return PackLoss(total, (sums / pack.sums(pack.weights)).tolist())


def cross_entropy(
    hidden: Tensor, head: Tensor, pack: Pack, weights: Tensor, moment: Moment
) -> tuple[Tensor, Tensor]:
    """-log p(token), fused: see ``kernels/cross_entropy.py``."""
    return linear_cross_entropy(hidden, head, pack.targets, weights)


def row_weight(row: Row) -> float:
    """The row's column ``weight``, 1 where there is none. Raises ValueError for one that is not positive."""
    given = row.get("weight")
    weight = 1.0 if given is None else float(given)
    if not 0 < weight < float("inf"):
        raise ValueError(f"its weight is {given!r}, not a positive number")
    return weight
