"""Learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

Schedule = Literal["constant", "linear", "cosine"]


def rate_in_phases(step: int, phases: Sequence[int], **options: Any) -> float:
    """Return the :func:`learning_rate` of ``step``, where each phase, of so many steps, has a schedule."""
    for steps in phases[:-1]:
        if step < steps:
            return learning_rate(step, steps, **options)
        step -= steps
    return learning_rate(step, phases[-1], **options)


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
