"""Chooses the number format of a training that leaves it open."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from ..settings import TrainSettings
from .chosen import chosen

Step = TypeVar("Step", bound=TrainSettings)


def with_format(step: Step, kept: Path) -> Step:
    """Return ``step`` with its ``dtype``: fp32 where a process has a machine without instructions for bf16.

    ``kept``: the file that holds what was chosen, so that a training that goes on computes as it began. All
    processes must call it.
    """
    if step.dtype is not None:
        return step
    fast = chosen(kept, "bf16", lambda: step.number_format() == "bf16")
    return step.model_copy(update={"dtype": "bf16" if fast else "fp32"})
