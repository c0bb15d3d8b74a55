"""How fast a training step could be: its floating-point operations at the rate of the machine's own matrix products.

The roofline model of Williams, Waterman and Patterson, "Roofline: an insightful visual performance model" (CACM 52(4), 2009),
with its computing roof alone: training in packs of hundreds of tokens is far above the ridge.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from .examples import Example, count_tokens

#: Seconds that measuring may take, and the sides of the smallest and the largest square matrices that it multiplies.
PATIENCE, SMALLEST, LARGEST = 0.3, 256, 8192


@dataclass(frozen=True, slots=True)
class StepWork:
    """What a model asks of a step, by its shape.

    ``body``: weights in the blocks' linear layers. ``trained``: weights that are trained; ``dense``: these are (changes of)
    the body's own, not an adapter's beside it. ``head``: weights of the head. ``mixed``: layers * heads * size of a head.
    ``recompute``: whether blocks are computed twice.
    """

    body: int
    trained: int
    dense: bool
    head: int
    mixed: int
    recompute: bool

    def flop(self, rows: Sequence[Example]) -> float:
        """Of a step over these rows, forward and backward.

        A token costs 2 FLOP a weight forward, 2 for the gradient of what comes in, 2 more for that of the weight where it is
        trained, and 2 where the forward pass is repeated. The head is frozen and sees only tokens that are trained on. Attention, causal,
        over a sequence of L tokens: 2 L L a value of all heads forward, 5 L L backward (its scores are formed again).
        """
        again = 2 if self.recompute else 0
        tokens = count_tokens(rows)
        squares = sum(len(sequence.ids) ** 2 for row in rows for sequence in row.sequences)
        body = (4 + again) * self.body + (2 if self.dense else 6 + again) * self.trained
        head = 4 * self.head * sum(row.trained_tokens for row in rows)
        return float(tokens * body + head + (7 + again) * self.mixed * squares)


@cache
def matmul_rate(dtype: torch.dtype, device: str) -> float:
    """The FLOP/s of ``x @ w.T`` in ``dtype`` on ``device`` ("cpu", "cuda"), the best of what fits into half a second, once
    the first product has brought in the libraries.

    Square matrices, twice as large while a product takes under a hundredth of a second. Measured once a process; draws from
    a generator of its own.
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
    """Two matrices, multiplied once: the first product of a shape prepares what the others use."""
    x, w = (torch.randn(side, side, generator=generator, device=generator.device).to(dtype) for _ in range(2))
    _timed(x, w)
    return x, w


def _timed(x: torch.Tensor, w: torch.Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    torch.mm(x, w.T)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started
