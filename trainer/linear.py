"""A frozen linear layer: its weight dense or in NF4, and an adapter over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..kernels import nf4

#: What a layer holds of its weight: dense, in the computing dtype, or quantized.
Base = Tensor | nf4.NF4Tensor


def dense(base: Base, dtype: torch.dtype) -> Tensor:
    """The weight (N, K) that ``base`` holds, in ``dtype``."""
    return base.to(dtype) if isinstance(base, Tensor) else nf4.dequantize(base, dtype)


class Adapter(Protocol):
    """What can stand over a frozen linear layer. The slot for every method of the adapter family.

    ``state``: the tensors to save, by their suffix in PEFT's layout (``lora_A.weight``). ``merged``: a float32 weight
    (N, K) with the adapter in it. ``rates``: learning rates over the trainer's, by parameter.
    """

    def __call__(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        """The adapted map of ``x`` (tokens, K): (tokens, N). ``weight()`` is the frozen weight (N, K)."""
        ...

    def merged(self, weight: Tensor) -> Tensor: ...

    def rates(self) -> dict[str, float]: ...

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: dict[str, Tensor]) -> None: ...


class Linear(nn.Module):
    """``y = x W^T + bias``, frozen, plus what its adapter adds.

    ``base``: the weight (N, K) in the computing dtype, or in NF4. ``keep_dequantized``: hold the dequantized weight
    beside an NF4 base, which spends 2 bytes a weight (bf16) to save dequantizing twice a step; the values
    are the same.
    """

    adapter: nn.Module | None

    def __init__(
        self,
        base: Base,
        bias: Tensor | None,
        dtype: torch.dtype,
        keep_dequantized: bool = False,
    ) -> None:
        super().__init__()
        self.base, self.bias, self.dtype = base, bias, dtype
        self.adapter = None
        self._dequantized = dense(base, dtype) if keep_dequantized else None

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K): outputs, inputs."""
        rows, columns = self.base.shape
        return rows, columns

    def weight(self) -> Tensor:
        """The weight in the computing dtype, (N, K)."""
        return dense(self.base, self.dtype) if self._dequantized is None else self._dequantized

    def forward(self, x: Tensor) -> Tensor:
        if self.adapter is None:
            return linear(x, self.weight(), self.bias)
        adapted: Tensor = self.adapter(x, self.weight, self.bias)
        return adapted
