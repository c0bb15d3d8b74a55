"""Prefix tuning: Li & Liang, "Prefix-Tuning: Optimizing Continuous Prompts for Generation" (arXiv
2101.00190).

The rows are trained themselves, without the paper's network that computes them in training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from .unmerged import Unmerged

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings

#: Standard deviation of the rows at their start.
START = 0.02


class Prefix(Unmerged):
    """Trained ``rows`` (P, N) of keys, or of values, that all tokens of each sequence attend to.

    They have no position: keys are not rotated. Since all tokens give a part of their attention to them,
    training does not start at the base exactly.
    """

    def __init__(self, tokens: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.rows = nn.Parameter(START * torch.randn(tokens, width, generator=generator))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        return cls(settings.prefix_tokens, linear.shape[0], generator).to(linear.device)

    def prefix(self) -> Tensor:
        return self.rows

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return settings.prefix_tokens * shape[0]

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The keys, or values, without the prefix."""
        return shape[0]
