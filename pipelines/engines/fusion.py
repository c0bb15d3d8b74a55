"""Weights of several tuned models at each token: Dynamic Logits Fusion (Fan et al., 2406.15480).

The combined distribution P~ = softmax(base + sum of a_t * (plus_t - minus_t)) shall be as far from the base's
P as the tuned small models are from the untuned one, in both directions. So a minimizes

    sum over t of (KL(P~ | P) - KL(Q_t | Q))^2 + (KL(P | P~) - KL(Q | Q_t))^2,    0 <= a_t <= 2.

The sum of squares differs only by a constant from the one with the mean of the KL(Q_t | Q) and of the
KL(Q | Q_t), times the number of pairs. Along a line a = s * d both divergences grow with s, and need only the
log of the normalizer and the mean of the change: one pass over the vocabulary for each s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from .combining import Shift

if TYPE_CHECKING:
    import torch

#: The largest weight of a pair.
MOST = 2.0
#: Values of s that are tried, in steps of 0.1, and again around the best in steps of 0.01.
COARSE, FINE = 20, 10


@dataclass(frozen=True, slots=True)
class DynamicScales:
    """``parts``: how finely the weight is divided among several pairs; 1 gives all of it to one pair, which
    the paper does to find it faster.
    """

    parts: int = 1

    def __call__(self, base: torch.Tensor, shifts: Sequence[Shift]) -> torch.Tensor:
        import torch

        rows = base.reshape(-1, base.shape[-1])
        pairs = [Shift(shift.plus.reshape(rows.shape), shift.minus.reshape(rows.shape)) for shift in shifts]
        combined = torch.empty_like(rows)
        for place in range(len(rows)):
            here = [Shift(pair.plus[place], pair.minus[place]) for pair in pairs]
            weights = best_weights(rows[place], here, self.parts)
            combined[place] = rows[place] + sum(
                weight * shift.change for weight, shift in zip(weights, here, strict=True)
            )
        return combined.reshape(base.shape)


def best_weights(base: torch.Tensor, shifts: Sequence[Shift], parts: int = 1) -> tuple[float, ...]:
    """The weights at one position, one per pair. ``base`` and the shifts: float32 ``(vocabulary,)``."""
    import torch

    log_base = torch.log_softmax(base, dim=-1)
    target = torch.stack([_distances(shift) for shift in shifts]).mean(dim=0)
    best: tuple[float, tuple[float, ...]] | None = None
    for direction in directions(len(shifts), parts):
        change = sum(
            (share * shift.change for share, shift in zip(direction, shifts)), torch.zeros_like(base)
        )
        loss, size = _along(log_base, change, target)
        if best is None or loss < best[0]:
            best = loss, tuple(size * share for share in direction)
    assert best is not None
    return best[1]


def directions(pairs: int, parts: int) -> list[tuple[float, ...]]:
    """The ways to divide ``parts`` among the pairs, scaled so that the largest share is 1."""
    found = []
    for bars in combinations(range(parts + pairs - 1), pairs - 1):
        edges = (-1, *bars, parts + pairs - 1)
        counts = [right - left - 1 for left, right in pairwise(edges)]
        found.append(tuple(count / max(counts) for count in counts))
    return list(dict.fromkeys(found))


def _distances(shift: Shift) -> torch.Tensor:
    """KL(tuned | untuned) and KL(untuned | tuned) in nats: ``(2,)``."""
    import torch

    plus, minus = torch.log_softmax(shift.plus, dim=-1), torch.log_softmax(shift.minus, dim=-1)
    gap = plus - minus
    return torch.stack([(plus.exp() * gap).sum(), -(minus.exp() * gap).sum()])


def _along(log_base: torch.Tensor, change: torch.Tensor, target: torch.Tensor) -> tuple[float, float]:
    """The smallest loss along a direction, and where: a multiple of 0.01 from 0 to MOST."""
    import torch

    start = (log_base.exp() * change).sum()
    step = MOST / COARSE
    sizes = torch.arange(COARSE + 1, device=change.device) * step
    for _ in range(2):
        scores = torch.addcmul(log_base, sizes[:, None], change)
        largest = scores.amax(dim=-1, keepdim=True)
        shares = scores.sub_(largest).exp_()
        total = shares.sum(dim=-1)
        normalizer, mean = total.log() + largest[:, 0], (shares @ change) / total
        towards, back = sizes * mean - normalizer, normalizer - sizes * start
        losses = (towards - target[0]) ** 2 + (back - target[1]) ** 2
        place = int(losses.argmin())
        best = float(losses[place]), float(sizes[place])
        step /= FINE
        around = torch.arange(-FINE, FINE + 1, device=change.device) * step + sizes[place]
        sizes = around.clamp(0.0, MOST)
    return best
