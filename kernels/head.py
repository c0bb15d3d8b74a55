"""The head that turns hidden states into logits, plain or with capped logits.

A head is its weight (V, H). If logits are capped, ``cap * tanh(logits / cap)`` (Gemma 2, arXiv 2408.00118),
it is a :class:`CappedHead`, so that an operation that does not know caps fails instead of ignoring one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class CappedHead:
    """A head (V, H) with the ``cap`` of its logits."""

    weight: Tensor
    cap: float

    @property
    def requires_grad(self) -> bool:
        return self.weight.requires_grad

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes


Head = Tensor | CappedHead


def parts(head: Head) -> tuple[Tensor, float | None]:
    """Return the weight and the cap, None for a head without one."""
    return (head.weight, head.cap) if isinstance(head, CappedHead) else (head, None)


def head_logits(hidden: Tensor, head: Head) -> Tensor:
    """Compute the logits of ``hidden`` (tokens, H): float32 (float64 for float64 input), (tokens, V)."""
    weight, cap = parts(head)
    logits = (hidden @ weight.T).to(torch.promote_types(hidden.dtype, torch.float32))
    return logits if cap is None else capped(logits, cap)[0]


def capped(logits: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Return the capped logits, and their derivative with respect to ``logits``."""
    turned = torch.tanh(logits / cap)
    return turned * cap, 1 - turned.square()
