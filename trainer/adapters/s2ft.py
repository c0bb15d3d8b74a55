"""S2FT: Yang et al., "S2FT: Efficient, Scalable and Generalizable LLM Fine-tuning by Structured Sparsity".

NeurIPS 2024, arXiv 2412.06289.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from .added_map import AddedMap

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class S2FT(AddedMap):
    """Trains the columns of some heads in attention's output projection, and of some channels in the MLP's.

    The columns are drawn at random, of whole heads, one head or channel at least. They form a dense matrix,
    ``columns`` (N, k), initially zero, whose product with the same k of the layer's inputs is added; nothing
    is computed or kept for the others. ``index`` (k,): the chosen inputs, ascending.
    """

    index: Tensor

    def __init__(self, rows: int, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index)
        self.columns = nn.Parameter(torch.zeros(rows, len(index), device=index.device))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        rows, inputs = linear.shape
        units = torch.arange(inputs).view(-1, linear.unit)
        count = max(1, int(settings.s2ft_share * len(units)))
        chosen = torch.randperm(len(units), generator=generator)[:count].sort().values
        return cls(rows, units[chosen].flatten().to(linear.device))

    def change(self, x: Tensor) -> Tensor:
        return x[:, self.index] @ self.columns.to(x.dtype).T

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """Return the number of trained values but for the rounding to whole heads."""
        return shape[0] * max(1, int(settings.s2ft_share * shape[1]))

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The chosen inputs."""
        return max(1, int(settings.s2ft_share * shape[1]))

    def state(self, over: str = "original") -> dict[str, Tensor]:
        return {"columns": self.columns.detach(), "index": self.index}

    def load(self, state: dict[str, Tensor]) -> None:
        """Load columns and which they are: these need not be those that were drawn here."""
        columns, index = state["columns"], state["index"]
        if columns.shape != (len(self.columns), len(index)):
            raise RuntimeError(f"columns is {list(columns.shape)}, not {[len(self.columns), len(index)]}")
        self.index = index.to(self.index.device)
        self.columns = nn.Parameter(columns.to(self.columns.device, self.columns.dtype).clone())
