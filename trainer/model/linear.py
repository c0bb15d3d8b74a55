"""A frozen linear layer with a dense or quantized weight, and an optional adapter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...kernels.frozen_linear import frozen_linear
from ...kernels.lora_maps import LoRAMap, Rounded
from ...kernels.products import Factor, Packed, Weight
from .weight_formats import Base, dense

#: A (r, K), B (N, r), the scale of their product, and both factors rounded.
LowRank = tuple[Tensor, Tensor, float, Rounded]


class Linear(nn.Module):
    """``y = x W^T + bias``, frozen, plus the output of its adapter.

    ``base``: the weight (N, K), dense or quantized; passes compute with it in ``dtype``.
    ``keep_dequantized``: keep the dequantized weight next to a quantized base. This takes 2 bytes per weight
    (bf16) and avoids dequantizing twice per step; the values are the same. ``adapter``: a module called with
    x (tokens, K), a function that returns the weight (packed, if it was), and the bias, as
    :class:`~gristmill.trainer.adapters.lora.LoRA` is. Its ``state`` and ``load`` hold its tensors by their
    suffix in PEFT's layout, ``merged`` returns a float32 weight (N, K) with the adapter merged into it, and
    ``rates`` multiples of the learning rate, by parameter name.
    ``low_rank``: A, B, the scale s and the factors rounded to a dtype if the adapter currently computes only
    ``s B A``, so that operations over several layers can include it; otherwise None.
    """

    adapter: nn.Module | None
    #: Number of inputs that belong together: those of one head, in the output projection of attention.
    unit: int = 1

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
        self._packed: Packed | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (N, K) of the weight: outputs, inputs."""
        rows, columns = self.base.shape
        return rows, columns

    @property
    def device(self) -> torch.device:
        """Device of the weight."""
        return self.base.device

    def weight(self) -> Tensor:
        """Return the weight (N, K) in the computation dtype."""
        return dense(self.base, self.dtype) if self._dequantized is None else self._dequantized

    def whole_weight(self) -> Tensor:
        """Return the same between passes too, if the layer is sharded: then all processes must call it."""
        return self.weight()

    def pack(self) -> None:
        """Pack the weight for the CPU's matrix products, in place of a dequantized one that is kept.

        For a layer without an adapter, or with one of low rank.
        """
        self._packed, self._dequantized = Packed.of(self.weight()), None

    def factor(self) -> Weight:
        """Return the weight as a factor of matrix products: packed if it was, or with products of its own."""
        if isinstance(self.base, Factor):
            return self.base
        return self.weight() if self._packed is None else self._packed

    def rebase(self, base: Base) -> None:
        """Replace the weight by ``base``, of the same shape."""
        self.base = base
        if self._dequantized is not None:
            self._dequantized = dense(base, self.dtype)
        if self._packed is not None:
            self.pack()

    def forward(self, x: Tensor) -> Tensor:
        if self.adapter is None:
            return frozen_linear(x, self.factor, self.bias)
        adapted: Tensor = self.adapter(x, self.factor, self.bias)
        return adapted

    def beside(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the output of the sublayer that this layer ends: its own ``y``, with what its adapter adds.

        ``x``: the sublayer's input. Both (tokens, hidden).
        """
        if self.adapter is None:
            return y
        changed: Tensor = self.adapter.beside(x, y)  # type: ignore[operator]
        return changed

    def prefix(self) -> Tensor | None:
        """Return the rows (P, N) that its adapter puts before the outputs of each sequence, if any."""
        if self.adapter is None:
            return None
        rows: Tensor | None = self.adapter.prefix()  # type: ignore[operator]
        return rows

    def lora_map(self) -> LoRAMap | None:
        """Return the layer as an input of a fused LoRA operation, or None.

        None if its adapter computes more than a low-rank change, or if a hook is registered on the layer.
        """
        if self._forward_pre_hooks or self._forward_hooks:
            return None
        if self.adapter is None:
            return LoRAMap(self.factor, self.bias)
        found: LowRank | None = self.adapter.low_rank(self.dtype)  # type: ignore[operator]
        return None if found is None else LoRAMap(self.factor, self.bias, *found)


def lora_maps(*layers: nn.Module) -> list[LoRAMap] | None:
    """Return the layers as inputs of one fused LoRA operation, or None if they must run one by one.

    They run one by one if one of them is more than a LoRA map, or if none has an adapter.
    """
    maps = [layer.lora_map() for layer in layers if isinstance(layer, Linear)]
    found = [each for each in maps if each is not None]
    return found if len(found) == len(layers) and any(each.a is not None for each in found) else None
