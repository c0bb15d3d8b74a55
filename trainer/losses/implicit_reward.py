"""Imitation by other divergences than that of the cross-entropy, with the log-ratio as the reward.

Imitation minimizes D_f(expert || model) + beta * KL(model || reference). In its dual form, a reward r of the
expert's tokens is maximized, -f*(-r) with the convex conjugate f* of f, and the model that is optimal for r
has r = beta * log(p / p_ref), up to a constant of the prompt. For the total variation -f*(-r) is r itself:
this is the cross-entropy, in which the KL term has no effect on the gradient. Other f keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ...kernels.head import Head
from ...kernels.log_probs import linear_log_probs
from ..data.examples import Example
from ..data.lazy_examples import Changed
from ..data.packs import Pack
from ..model.decoder import Decoder
from .objective import StepContext, Told, silent
from .reference import token_references
from .token_loss import TokenObjective

#: Reward below which Hellinger's conjugate goes on along its tangent: it has a pole at -1.
STEEPEST = -0.5


def total_variation(reward: Tensor) -> Tensor:
    """f*(-r) = -r: the cross-entropy, up to a constant."""
    return -reward


def pearson(reward: Tensor) -> Tensor:
    """f*(-r) = r^2 / 4 - r, of f(u) = (u - 1)^2: no reward above 2 is sought."""
    return reward**2 / 4 - reward


def hellinger(reward: Tensor) -> Tensor:
    """f*(-r) = -r / (1 + r), of f(u) = (sqrt(u) - 1)^2; below -1/2 along its tangent, -4 r - 1."""
    inside = reward.clamp(min=STEEPEST)
    slope = 1 / (1 + STEEPEST) ** 2
    return -inside / (1 + inside) - slope * (reward - inside)


def kl(reward: Tensor) -> Tensor:
    """f*(-r) = exp(-r - 1), of f(u) = u log(u)."""
    return torch.exp(-reward - 1)


#: Maps rewards (tokens,) to losses (tokens,).
CONJUGATES: Mapping[str, Callable[[Tensor], Tensor]] = {
    each.__name__: each for each in (total_variation, pearson, hellinger, kl)
}


class ImplicitReward(TokenObjective):
    """f*(-beta * log(p / p_ref)) / beta, the mean over trained tokens. ``conjugate``: computes f*(-r)."""

    plain: ClassVar[bool] = False

    def __init__(self, conjugate: Callable[[Tensor], Tensor], beta: float) -> None:
        super().__init__(self._losses)
        self.conjugate, self.beta = conjugate, beta

    def prepare(
        self, model: Decoder, examples: Sequence[Example], capacity: int, told: Told = silent
    ) -> Sequence[Example]:
        return Changed(examples, {"reference": token_references(model, examples, capacity, told)})

    def _losses(
        self, hidden: Tensor, head: Head, pack: Pack, weights: Tensor, step_context: StepContext
    ) -> tuple[Tensor, Tensor]:
        log_p = linear_log_probs(hidden, head, pack.targets)
        known = [value for example in pack.examples for value in example.reference]
        reward = self.beta * (log_p - torch.tensor(known, dtype=torch.float64).to(log_p))
        losses = self.conjugate(reward) / self.beta
        return (losses * weights).sum(), losses.detach()
