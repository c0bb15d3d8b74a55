"""DoRA: Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation" (ICML 2024, arXiv 2402.09353)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor, nn

from ...kernels.dora_linear import SMALLEST_NORM, dora_linear, row_norms
from .lora import LoRA

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings
    from .initialization import Factors


class DoRA(LoRA):
    """LoRA for the direction of each row of the weight, and ``magnitude`` (N,), also trained, for its length.

    ``squares`` (N,): squared norms of the base's rows, float32.
    """

    squares: Tensor

    def __init__(self, shape: tuple[int, int], **settings: Any) -> None:
        super().__init__(shape, **settings)
        self.magnitude = nn.Parameter(torch.ones(shape[0]))
        self.register_buffer("squares", torch.ones(shape[0]), persistent=False)

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        adapter = super().over(linear, settings, rank, generator)
        adapter._restart(linear.weight())
        return adapter

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return super().count(settings, shape) + shape[0]

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """Each layer also keeps its output before its gain."""
        return shape[0]

    def measure(self, weight: Tensor) -> None:
        """Compute the squared norms of the base's rows."""
        with torch.no_grad():
            self.squares.copy_(weight.float().square().sum(1))

    def _restart(self, weight: Tensor) -> None:
        """Initialize the magnitudes to the row norms of the base plus ``s B A``."""
        self.measure(weight)
        with torch.no_grad():
            self.magnitude.copy_(row_norms(weight, self.squares, self.a, self.b, self.scale))

    def begin(self, factors: Factors, weight: Tensor) -> None:
        super().begin(factors, weight)
        self._restart(weight)

    def forward(  # type: ignore[override]  # its weight is never packed
        self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None
    ) -> Tensor:
        def norms(dense: Tensor) -> Tensor:
            return row_norms(dense, self.squares, self.a, self.b, self.scale)

        a, b, magnitude = self.a, self.b, self.magnitude
        return dora_linear(x, weight, bias, a, b, magnitude, self.scale, norms, self._dropped(x))

    def low_rank(self, dtype: torch.dtype) -> None:
        """Return None: the magnitudes are more than a low-rank change."""

    def merged(self, weight: Tensor) -> Tensor:
        whole = super().merged(weight)
        gains = self.magnitude.detach() / whole.norm(dim=1).clamp(min=SMALLEST_NORM)
        return whole.mul_(gains[:, None])

    def state(self, over: Literal["original", "held"] = "original") -> dict[str, Tensor]:
        """Return LoRA's state and the magnitudes, which are the same over either base."""
        return {**super().state(over), "lora_magnitude_vector": self.magnitude.detach()}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        with torch.no_grad():
            self.magnitude.copy_(state["lora_magnitude_vector"])
