"""A frozen linear layer: its weight dense or quantized, and an adapter over it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..kernels.lora_maps import LoRAMap
from .base import Base, dense


class Linear(nn.Module):
    """``y = x W^T + bias``, frozen, plus what its adapter adds.

    ``base``: the weight (N, K) in the computing dtype, or quantized. ``keep_dequantized``: hold the dequantized weight
    beside a quantized base, which spends 2 bytes a weight (bf16) to save dequantizing twice a step; the values
    are the same. ``adapter``: a module called with x (tokens, K), a function that gives the weight, and the bias, as
    :class:`~gristmill.trainer.adapters.lora.LoRA` is; with ``state`` and ``load`` (its tensors by their suffix in PEFT's
    layout), ``merged`` (a float32 weight (N, K) with the adapter in it), ``rates`` (learning rates over the trainer's, by
    parameter) and ``low_rank``: A, B and the scale s where it is just now no more than ``s B A``, which operations over
    several layers can take over; else None.
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

    @property
    def device(self) -> torch.device:
        """Where the weight lies."""
        return self.base.device

    def weight(self) -> Tensor:
        """The weight in the computing dtype, (N, K)."""
        return dense(self.base, self.dtype) if self._dequantized is None else self._dequantized

    def forward(self, x: Tensor) -> Tensor:
        if self.adapter is None:
            return linear(x, self.weight(), self.bias)
        adapted: Tensor = self.adapter(x, self.weight, self.bias)
        return adapted

    def lora_map(self) -> LoRAMap | None:
        """The layer as operations over several layers compute it, or None where it is more than that: its adapter is, or
        somebody watches its calls."""
        if self._forward_pre_hooks or self._forward_hooks:
            return None
        if self.adapter is None:
            return LoRAMap(self.weight, self.bias)
        found: tuple[Tensor, Tensor, float] | None = self.adapter.low_rank()  # type: ignore[operator]
        return None if found is None else LoRAMap(self.weight, self.bias, *found)


def lora_maps(*layers: nn.Module) -> list[LoRAMap] | None:
    """The layers as one fused operation computes them, or None where they must run one by one: one is more than a LoRA map,
    or none has an adapter."""
    maps = [layer.lora_map() for layer in layers if isinstance(layer, Linear)]
    found = [each for each in maps if each is not None]
    return found if len(found) == len(layers) and any(each.a is not None for each in found) else None
