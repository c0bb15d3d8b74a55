"""DSEE: Chen et al., "DSEE: Dually Sparsity-embedded Efficient Tuning of Pre-trained Language Models"
(ACL 2023, arXiv 2111.00160).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from ...kernels.frozen_linear import frozen_linear
from ...kernels.top_k import threshold, top_k_mask
from .adapter import Adapter
from .decompose import leading

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class DSEE(Adapter):
    """Two kinds of sparsity: the change is ``s B A`` plus single entries, and the weight itself is pruned.

    The entries are the ``dsee_entries`` largest of what a decomposition of rank r leaves of the weight.
    ``places`` (n,): them, row-major, ascending. ``values`` (n,): their changes, initially zero. The share
    ``dsee_pruned`` of the weight's entries, the smallest ones, is zero from the start, so training makes up
    for them. (The paper prunes after a first training, and trains again; and takes the entries from a
    randomized decomposition. It aims at sparse final weights; here a merged weight is dense, since
    ``s B A`` fills the zeros.)
    """

    formed: ClassVar[int] = 1
    places: Tensor

    def __init__(
        self, shape: tuple[int, int], rank: int, scale: float, places: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        rows, columns = shape
        bound = 1 / math.sqrt(columns)
        self.a = nn.Parameter(torch.empty(rank, columns).uniform_(-bound, bound, generator=generator))
        self.b = nn.Parameter(torch.zeros(rows, rank))
        self.values = nn.Parameter(torch.zeros(len(places)))
        self.scale, self.columns = scale, columns
        #: The largest magnitude that is pruned.
        self.pruned = -1.0
        self.register_buffer("places", places)

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        weight = linear.weight().float()
        u, s, vt = leading(weight, min(rank, *linear.shape), settings.svd_iterations, generator)
        rest = weight - (u * s) @ vt
        count = min(settings.dsee_entries, weight.numel())
        places = top_k_mask(rest, count).flatten().nonzero()[:, 0]
        scale = settings.alpha_of(rank) / rank
        fresh = cls(linear.shape, rank, scale, places.cpu(), generator).to(linear.device)
        left = weight.numel() - int(settings.dsee_pruned * weight.numel())
        if left < weight.numel():
            limit = threshold(weight, left).magnitude
            below = weight.abs()[weight.abs() < limit]
            # Nothing is below the limit if the smallest ones are alike, or if zeros are more than the share.
            fresh.pruned = below.max().item() if below.numel() else 0.0 if limit == 0 else -1.0
        return fresh

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        y = frozen_linear(x, lambda: self.dense(weight()), bias)
        y = y + self.scale * (x @ self.a.to(x.dtype).T) @ self.b.to(x.dtype).T
        rows = self.places // self.columns
        return y.index_add(1, rows, x[:, self.places % self.columns] * self.values.to(x.dtype))

    def dense(self, weight: Tensor) -> Tensor:
        """Return ``weight`` (N, K) with its smallest entries at zero."""
        return weight.masked_fill(weight.abs() <= self.pruned, 0.0)

    def merged(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            whole = torch.addmm(self.dense(weight), self.b, self.a, alpha=self.scale)
            whole.view(-1).index_add_(0, self.places, self.values)
        return whole

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return settings.rank * sum(shape) + min(settings.dsee_entries, shape[0] * shape[1])

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The inputs in A's directions, and those of the entries."""
        return settings.rank + min(settings.dsee_entries, shape[0] * shape[1])
