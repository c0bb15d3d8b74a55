"""SeleKT: Aggarwal et al., "NextCoder: Robust Adaptation of Code LMs to Diverse Code Edits".

ICML 2025, arXiv 2503.03656.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from ...kernels.top_k import Threshold, mask_above, streamed_threshold
from ..model.decoder import Decoder
from ..optimizers.optimizer import Optimizer
from .masked import entries_of
from .projection import COUNTS, Projection, deltas, keep_only

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings


class SeleKT(Projection):
    """Trains dense changes; every ``every`` steps, and after the last, keeps only the largest.

    ``density``: alpha, the share of entries that may differ from the base. Exactly ``floor(alpha * N)`` of
    the N trained entries are kept: the largest in float32 magnitude, with ties resolved to the earlier entry.
    ``scope``: selects over all layers together ("global", as in the paper), or in each layer ("tensor", as in
    the authors' code). Changes are always relative to the original base.
    """

    held_bytes: ClassVar[int] = COUNTS

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.density, settings.every, settings.scope)

    def __init__(self, density: float, every: int, scope: Literal["global", "tensor"]) -> None:
        self.density, self.every, self.scope = density, every, scope
        self.parameters: list[nn.Parameter] = []

    def begin(self, model: Decoder) -> None:
        """Do nothing: all linear layers with a delta take part."""
        self.parameters = list(deltas(model).values())

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        if last or (step + 1) % self.every == 0:
            self.project(self.parameters, optimizer)

    @torch.no_grad()
    def project(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer) -> None:
        """Keep the largest entries of ``parameters``.

        Needs additional memory for the mask of one layer at a time, and no sorting. The operation is
        idempotent.
        """
        for parameter, mask in zip(parameters, largest(parameters, self.density, self.scope)):
            keep_only(parameter, mask, optimizer)


def largest(
    tensors: Sequence[Tensor], density: float, scope: Literal["global", "tensor"]
) -> Iterator[Tensor]:
    """Yield a mask of each tensor: of exactly the largest entries, over all of them or in each.

    A tensor may be changed when its mask was yielded. Ties go to the earlier entry.
    """
    for group in [tensors] if scope == "global" else [[tensor] for tensor in tensors]:
        count = entries_of(density, sum(tensor.numel() for tensor in group))
        found = streamed_threshold(lambda group=group: group, count)  # type: ignore[misc]
        ties = found.ties
        for tensor in group:
            mask = mask_above(tensor, Threshold(found.magnitude, ties))
            ties -= min(ties, int((tensor.abs() == found.magnitude).sum()))
            yield mask
