"""Speed limit of a training step: its floating-point operations at the measured rate of matrix products.

This is the roofline model of Williams, Waterman and Patterson, "Roofline: an insightful visual performance
model" (CACM 52(4), 2009), with the compute limit only: training in packs of hundreds of tokens is not limited
by memory bandwidth.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from ...kernels.attention import pairs
from ...kernels.products import times
from ..data.examples import Example, count_tokens

#: Seconds that the measurement may take, and the smallest and largest size of its square matrices.
PATIENCE, SMALLEST, LARGEST = 0.3, 256, 8192


@dataclass(frozen=True, slots=True)
class StepWork:
    """Quantities of a model's shape that determine the floating-point operations of a step.

    ``body``: weights in the linear layers of the blocks. ``trained``: trained weights. ``dense``: whether
    these are changes of the body's own weights, not separate adapter weights. ``head``: weights of the head.
    ``mixed``: layers * heads * head size. ``recompute``: whether blocks are computed twice. ``windows``: of
    each block, the tokens that a token attends to; None for all.
    """

    body: int
    trained: int
    dense: bool
    head: int
    mixed: int
    recompute: bool
    windows: tuple[int | None, ...] = (None,)

    def flop(self, rows: Sequence[Example]) -> float:
        """Return the floating-point operations of a step over ``rows``, forward and backward.

        Per token, a weight costs 2 FLOP forward and 2 FLOP for the gradient of its input. A trained weight
        costs 2 more FLOP for its own gradient, and recomputation 2 more. The head is frozen and sees only
        trained tokens. Causal attention over a sequence of L tokens costs 2 L L FLOP forward and 5 L L FLOP
        backward (its scores are recomputed) per value of all heads, and less in a sliding window.
        """
        again = 2 if self.recompute else 0
        tokens = count_tokens(rows)
        lengths = [len(sequence.ids) for row in rows for sequence in row.sequences]
        squares = sum(pairs(lengths, window) for window in self.windows) / len(self.windows)
        body = (4 + again) * self.body + (2 if self.dense else 6 + again) * self.trained
        head = 4 * self.head * sum(row.trained_tokens for row in rows)
        return float(tokens * body + head + (7 + again) * self.mixed * squares)


def roofline(least: float, seconds: float) -> dict[str, float]:
    """Return the ratio of the least possible seconds to those that were taken, as the figure ``roofline``.

    Returns nothing for a ratio above 1: then the rate was measured while other programs ran.
    """
    return {"roofline": least / seconds} if least <= seconds else {}


@cache
def matmul_rate(dtype: torch.dtype, device: str) -> float:
    """Measure the FLOP/s of ``x @ w.T`` in ``dtype`` on ``device`` ("cpu", "cuda"), as training computes it.

    Returns the best rate within the time limit, after a warm-up. The matrices are square; their size doubles
    while a product takes under 10 ms. Measured once per process, with a separate random generator.
    """
    generator = torch.Generator(device).manual_seed(0)
    best, side, seconds = 0.0, SMALLEST, 0.0
    x, w = _square(side, dtype, generator)
    began = time.perf_counter()
    while time.perf_counter() - began + seconds < PATIENCE:
        seconds = _timed(x, w)
        best = max(best, 2 * side**3 / seconds)
        if seconds < 0.01 and side < LARGEST:
            side *= 2
            x, w = _square(side, dtype, generator)
    return best


def _square(side: int, dtype: torch.dtype, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Make two matrices and multiply them once as a warm-up for their shape."""
    x, w = (torch.randn(side, side, generator=generator, device=generator.device).to(dtype) for _ in range(2))
    _timed(x, w)
    return x, w


def _timed(x: torch.Tensor, w: torch.Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    times(x, w)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started
