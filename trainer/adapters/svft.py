"""SVFT: Lingam et al., "SVFT: Parameter-Efficient Fine-Tuning with Singular Vectors" (arXiv 2405.19597)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from ...kernels.frozen_linear import frozen_linear
from .adapter import Adapter

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class SVFT(Adapter):
    """Adds ``U M V^T``, with the weight's own singular vectors, frozen, and a sparse M, which is trained.

    M (r, r), r = min(N, K), has entries on its diagonal and on ``svft_band`` diagonals to each side,
    initially zero: ``bands`` (2 svft_band + 1, r), of which the part beyond the edges has no effect.
    """

    u: Tensor
    v: Tensor

    def __init__(self, u: Tensor, v: Tensor, band: int) -> None:
        """``u``: (N, r). ``v``: (K, r), both with orthonormal columns."""
        super().__init__()
        self.band = band
        self.register_buffer("u", u, persistent=False)
        self.register_buffer("v", v, persistent=False)
        self.bands = nn.Parameter(torch.zeros(2 * band + 1, u.shape[1], device=u.device))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        weight = linear.weight()
        u, _, vh = torch.linalg.svd(weight.float(), full_matrices=False)
        signs = torch.where(u.sum(0) < 0, -1.0, 1.0)  # of a product, each is free: other libraries agree
        return cls((u * signs).to(weight.dtype), (vh.T * signs).to(weight.dtype), settings.svft_band)

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        return frozen_linear(x, weight, bias) + self._mixed(x @ self.v.to(x.dtype)) @ self.u.to(x.dtype).T

    def _mixed(self, z: Tensor) -> Tensor:
        """Return ``z M^T`` for z (tokens, r), in its dtype."""
        bands = self.bands.to(z.dtype)
        rank = z.shape[1]
        total = z * bands[self.band]
        for off in range(1, min(self.band, rank - 1) + 1):
            above = z[:, off:] * bands[self.band + off, : rank - off]
            below = z[:, : rank - off] * bands[self.band - off, off:]
            total = total + nn.functional.pad(above, (0, off)) + nn.functional.pad(below, (off, 0))
        return total

    def merged(self, weight: Tensor) -> Tensor:
        v = self.v.float()
        with torch.no_grad():
            return weight + (self._mixed(v) @ self.u.float().T).T

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return (2 * settings.svft_band + 1) * min(shape)

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The input in the basis of V."""
        return min(shape)

    @classmethod
    def frozen(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """U and V."""
        return min(shape) * sum(shape)
