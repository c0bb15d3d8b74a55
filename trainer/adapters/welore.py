"""WeLore: Jaiswal et al., "From GaLore to WeLore: How Low-Rank Weights Non-uniformly Emerge from Low-Rank
Gradients" (arXiv 2407.11239).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from ..model.linear import Linear
from .adapter import InitializedAdapter
from .data_initialization import DataInitialization
from .initialization import Factors, InitializationData

if TYPE_CHECKING:
    from .adapter_settings import AdapterSettings


class WeLore(InitializedAdapter):
    """Trains the factors of a low-rank weight ``B A``, which takes the place of the original one.

    ``a`` (r, K), ``b`` (N, r): both are float32, of equal norms at the start.
    """

    reads_base: ClassVar[bool] = False

    def __init__(self, shape: tuple[int, int], rank: int) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(rank, shape[1])), nn.Parameter(torch.zeros(shape[0], rank))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        return cls(linear.shape, rank).to(linear.device)

    def begin(self, factors: Factors, weight: Tensor) -> None:
        with torch.no_grad():
            self.a.copy_(factors.a)
            self.b.copy_(factors.b)

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        y = (x @ self.a.to(x.dtype).T) @ self.b.to(x.dtype).T
        return y if bias is None else y + bias

    def merged(self, weight: Tensor) -> Tensor:
        """Return the product of the factors, in place of ``weight``."""
        return self.b.detach() @ self.a.detach()

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """Return the values of the factors if all layers have the same share of their ranks."""
        return int(settings.welore_keep * min(shape) * sum(shape))

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The inputs in A's directions."""
        return int(settings.welore_keep * min(shape))

    def load(self, state: dict[str, Tensor]) -> None:
        """Load factors of any rank: that of a layer follows from the weights of all."""
        a, b = state["a"], state["b"]
        if a.shape[1] != self.a.shape[1] or b.shape != (len(self.b), len(a)):
            raise RuntimeError(f"factors {list(b.shape)} and {list(a.shape)} do not fit")
        device = self.a.device
        self.a, self.b = (nn.Parameter(each.to(device, torch.float32).clone()) for each in (a, b))


class RankReduced(DataInitialization):
    """Compresses the weights that are nearly of low rank. They are trained, and the others are frozen.

    Of the singular values of each weight, scaled to a range from 0 to 1, those below one threshold are left
    out, so that exactly ``floor(welore_keep * ranks)`` of all ranks together remain, and at least one of each
    weight. A weight that keeps at most half of its ranks becomes its factors, and takes no memory besides
    them; any other stays as it is. No data are needed.
    """

    def start(self, model: Decoder, data: InitializationData) -> dict[str, Factors]:
        linears = self.linears(model)
        values = {name: torch.linalg.svdvals(each.weight().float()) for name, each in linears.items()}
        ranks = kept_ranks(values, self.settings.welore_keep)
        found = {}
        for name, linear in linears.items():
            rank = ranks[name]
            full = linear.weight().float()
            if 2 * rank > min(full.shape):
                found[name] = Factors(full.new_zeros(0, full.shape[1]), full.new_zeros(len(full), 0))
                continue
            u, s, vt = torch.linalg.svd(full, full_matrices=False)
            roots = s[:rank].sqrt()
            found[name] = Factors(roots[:, None] * vt[:rank], u[:, :rank] * roots)
        if not any(len(each.a) for each in found.values()):
            raise ModelError(
                "init 'welore' trains the weights that keep at most half of their ranks, and with "
                f"welore_keep {self.settings.welore_keep} there are none: lower it"
            )
        self.apply(model, found)
        return found

    def apply(self, model: Decoder, factors: dict[str, Factors]) -> None:
        for name, linear in self.linears(model).items():
            if len(factors[name].a):
                nothing = torch.zeros((), dtype=linear.dtype, device=linear.device)
                linear.rebase(nothing.expand(linear.shape))


def kept_ranks(values: dict[str, Tensor], keep: float) -> dict[str, int]:
    """Return the rank of each weight, given its singular ``values``, descending."""
    scaled = {
        name: (each - each[-1]) / (each[0] - each[-1]).clamp(min=1e-30) for name, each in values.items()
    }
    every = torch.cat(list(scaled.values())).sort(descending=True).values
    smallest = every[max(1, int(keep * len(every))) - 1]
    return {name: max(1, int((each >= smallest).sum())) for name, each in scaled.items()}
