"""Learning rate schedules."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def learning_rate(step: int, total: int, *, peak: float, schedule: Schedule, warmup_ratio: float) -> float:
    """Return the learning rate of ``step`` (from 0) of ``total``.

    The rate rises linearly to ``peak`` over the first ``warmup_ratio`` of the steps. It is then constant, or
    falls to 0 linearly or by half a cosine (Loshchilov & Hutter, arXiv 1608.03983).
    """
    warmup = math.ceil(total * warmup_ratio)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, total - warmup)
    if schedule == "linear":
        return peak * (1 - done)
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * done)) / 2
    return peak
