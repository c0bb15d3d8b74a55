"""LoLDU: Shi et al., "LoLDU: Low-Rank Adaptation via Lower-Diag-Upper Decomposition for PEFT".

arXiv 2410.13618.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from .added_map import AddedMap

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class LoLDU(AddedMap):
    """Of ``W = P L D U``, trains the first r entries of the diagonal D, and a scale; P, L and U are frozen.

    L (N, m) and U (m, K), m = min(N, K), have ones on their diagonals. The rest of W stays as it is, so the
    change is ``P L[:, :r] (scale D - D0) U[:r]``. ``diagonal`` (r,): D - D0. ``scale`` (1,): the scale
    minus 1. Both are initially zero. (In the authors' code, the scale starts at alpha / r, and what is left
    of W is without so many times the part that is trained.)
    """

    lower: Tensor
    upper: Tensor
    start: Tensor

    def __init__(self, lower: Tensor, start: Tensor, upper: Tensor) -> None:
        """``lower``: P L[:, :r], (N, r). ``start``: D0, float32 (r,). ``upper``: U[:r], (r, K)."""
        super().__init__()
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("start", start, persistent=False)
        self.register_buffer("upper", upper, persistent=False)
        self.diagonal = nn.Parameter(torch.zeros(len(upper), device=upper.device))
        self.scale = nn.Parameter(torch.zeros(1, device=upper.device))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        weight = linear.weight()
        rank = min(rank, *weight.shape)
        permutation, lower, scaled = torch.linalg.lu(weight.float())
        pivots = scaled.diagonal()[:rank].clone()
        upper = scaled[:rank] / torch.where(pivots == 0, 1.0, pivots)[:, None]
        return cls((permutation @ lower[:, :rank]).to(weight.dtype), pivots, upper.to(weight.dtype))

    def change(self, x: Tensor) -> Tensor:
        # scale D - D0, without the difference of two large numbers
        changed = self.diagonal + self.scale * (self.start + self.diagonal)
        return (x @ self.upper.to(x.dtype).T * changed.to(x.dtype)) @ self.lower.to(x.dtype).T

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return min(settings.rank, *shape) + 1

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The input times U, before and after it was scaled."""
        return 2 * min(settings.rank, *shape)

    @classmethod
    def frozen(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """P L, U, and the diagonal at the start, which is float32."""
        return min(settings.rank, *shape) * (sum(shape) + 2)
