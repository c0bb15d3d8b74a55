"""SeleKT: Aggarwal et al., "NextCoder: Robust Adaptation of Code LMs to Diverse Code Edits" (ICML 2025, arXiv 2503.03656)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from ...kernels.top_k import Threshold, mask_above, streamed_threshold
from ..model import Decoder
from .projection import keep_only


class SeleKT:
    """Dense steps; after every ``every`` of them, and after the last, only the largest changes to the base stay.

    ``density``: alpha, the share of entries that may differ from the base: exactly ``int(alpha * N)`` of the N trained, the
    largest in magnitude in float32, ties to the earlier entry. ``scope``: over all layers together ("global", as the
    paper defines it), or in each ("tensor", as its authors' program does). The reference is always the original base.
    """

    def __init__(self, density: float, every: int, scope: Literal["global", "tensor"]) -> None:
        self.density, self.every, self.scope = density, every, scope

    def begin(self, model: Decoder) -> None:
        """All linear layers with a delta take part."""

    def after_step(
        self, step: int, deltas: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> None:
        if (step + 1) % self.every == 0:
            self.finish(deltas, optimizer)

    def finish(self, deltas: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        """Project. Needs a mask for one layer at a time beside the deltas; nothing is sorted."""
        parameters = list(deltas.values())
        if self.scope == "tensor":
            for parameter in parameters:
                self._project([parameter], optimizer)
        else:
            self._project(parameters, optimizer)

    def _project(self, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        kept = int(self.density * sum(parameter.numel() for parameter in parameters))
        found = streamed_threshold(lambda: [parameter.detach() for parameter in parameters], kept)
        ties = found.ties
        for parameter in parameters:
            values = parameter.detach()
            mask = mask_above(values, Threshold(found.magnitude, ties))
            ties -= min(ties, int((values.abs() == found.magnitude).sum()))
            keep_only(parameter, mask, optimizer)

    def state(self) -> dict[str, Any]:
        """Nothing: the deltas, the moments and the step say it all."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing to take."""
