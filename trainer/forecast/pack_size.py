"""The number of tokens that go through the model at once, where the settings leave it open."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from ..parallel import Processes
from .chosen import chosen

#: On a CPU, whose caches a larger pack leaves; and the least on a GPU.
SMALLEST = 1024
#: What is tried on a GPU, where the host needs as long for a small pack as for a large one.
SIZES = (16384, 12288, 8192, 6144, 4096, 3072, 2048)
#: Share of the free memory that a plan may take, which is right to about a tenth.
FILLED = 0.85


def choose_pack_tokens(
    device: torch.device, fits: Callable[[int], bool], step_tokens: float, kept: Path
) -> int:
    """Return the tokens of a pack: on a GPU, as many as fit the free memory of every process's device.

    ``fits``: whether packs of a number of tokens do. ``step_tokens``: those of a step, of which each process
    gets a pack at least. ``kept``: the file that holds what was chosen, so that a training that goes on has
    the packs that it began with. All processes must call it.
    """
    if device.type == "cpu":
        return SMALLEST

    def largest() -> int:
        share = math.ceil(step_tokens / Processes.current().size)
        sizes = sorted({size for size in (share, *SIZES) if SMALLEST < size <= min(share, SIZES[0])})
        return next((size for size in reversed(sizes) if fits(size)), SMALLEST)

    return chosen(kept, "pack_tokens", largest)
