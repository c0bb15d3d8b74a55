"""Number of updates behind Adam's moments: of all entries of a parameter, or of each.

Adam (Kingma & Ba, arXiv 1412.6980) divides the moments of update t by 1 - beta**t, since they start at zero.
An entry whose moments start at zero later needs a count of its own: with that of the others, its updates
would be several times the learning rate.

A count of all entries is a tensor without dimensions. Counts of each are int16, 2 bytes per entry; they end
at 32,767, where the correction is 1 (for beta = 0.9999, 0.96).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST = torch.iinfo(torch.int16).max


def advance(counts: Tensor) -> None:
    """Count one more update, in place."""
    counts.add_(counts < LARGEST if counts.dim() else 1)


def forgotten(counts: Tensor, kept: Tensor) -> Tensor:
    """Return the counts with 0 where ``kept`` (bool, of the parameter's shape) is false."""
    if not counts.dim():
        if not int(counts):
            return counts
        counts = torch.full(kept.shape, min(int(counts), LARGEST), dtype=torch.int16, device=kept.device)
    return counts.masked_fill_(~kept, 0)


def bias_correction(beta: float, counts: Tensor | int) -> Tensor | float:
    """Return 1 - beta**counts: a number for a count of all entries, otherwise float32 of each."""
    if isinstance(counts, int) or not counts.dim():
        return float(1 - beta ** int(counts))
    return -torch.expm1(counts.float() * (math.log(beta) if beta else -math.inf))
