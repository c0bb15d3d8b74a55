"""SeleKT: Aggarwal et al., "NextCoder: Robust Adaptation of Code LMs to Diverse Code Edits" (ICML 2025, arXiv 2503.03656)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import nn

from ...kernels.top_k import Threshold, mask_above, streamed_threshold
from ..model import Decoder
from ..optimizers.optimizer import Optimizer
from .projection import deltas, keep_only


class SeleKT:
    """Dense steps; after every ``every`` of them, and after the last, only the largest changes to the base stay.

    ``density``: alpha, the share of entries that may differ from the base: exactly ``floor(alpha * N)`` of the N trained, the
    largest in magnitude in float32, ties to the earlier entry. ``scope``: over all layers together ("global", as the
    paper defines it), or in each ("tensor", as its authors' program does). The reference is always the original base.
    """

    def __init__(self, density: float, every: int, scope: Literal["global", "tensor"]) -> None:
        self.density, self.every, self.scope = density, every, scope
        self.parameters: list[nn.Parameter] = []

    def begin(self, model: Decoder) -> None:
        """All linear layers with a delta take part."""
        self.parameters = list(deltas(model).values())

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        if last or (step + 1) % self.every == 0:
            self.project(self.parameters, optimizer)

    @torch.no_grad()
    def project(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer) -> None:
        """Keep the largest entries of ``parameters``. Needs a mask for one layer at a time beside them; nothing is sorted.
        Doing it twice changes nothing."""
        for group in [parameters] if self.scope == "global" else [[parameter] for parameter in parameters]:
            found = streamed_threshold(lambda group=group: group, self.budget(group))  # type: ignore[misc]
            ties = found.ties
            for parameter in group:
                mask = mask_above(parameter, Threshold(found.magnitude, ties))
                ties -= min(ties, int((parameter.abs() == found.magnitude).sum()))
                keep_only(parameter, mask, optimizer)

    def budget(self, parameters: Sequence[nn.Parameter]) -> int:
        """How many of their entries stay: alpha as it is written, so that 0.29 of 100 is 29."""
        return int(Fraction(repr(self.density)) * sum(parameter.numel() for parameter in parameters))

    def state(self) -> dict[str, Any]:
        """Nothing: the deltas, the moments and the step say it all."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing to take."""
