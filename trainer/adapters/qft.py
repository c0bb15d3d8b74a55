"""Training of the integers of an INT8 weight themselves, for :mod:`gristmill.trainer.optimizers.qft`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear as product

from ...contracts.errors import ModelError
from ...kernels import int8
from ...kernels.int8 import INT8Tensor
from .adapter import Adapter

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class IntegerWeight(Adapter):
    """The weight as ``codes`` int8 (N, K) with ``scales`` (N,), those of the base, which training changes.

    There is no float32 copy. The gradient of the weight is INT8 too, with a scale for each row: each backward
    pass adds its own and rounds the sum. Since autograd knows no gradient of integers, a parameter of one
    value, ``anchor``, stands for the weight: its gradient is the sum of the passes' gradient norms.
    """

    formed: ClassVar[int] = 2
    reads_base: ClassVar[bool] = False
    codes: Tensor
    scales: Tensor

    def __init__(self, base: INT8Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", base.codes)
        self.register_buffer("scales", base.scales)
        self.anchor = nn.Parameter(torch.zeros(1, device=base.device))
        self.gradient: INT8Tensor | None = None

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        if not isinstance(linear.base, INT8Tensor):
            raise ModelError("kind 'qft' needs a base of integers: give quantize: int8")
        return cls(linear.base)

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        y: Tensor = _IntegerLinear.apply(x, bias, self.anchor, self)  # type: ignore[no-untyped-call]
        return y

    def held(self) -> INT8Tensor:
        """Return the weight."""
        return INT8Tensor(self.codes, self.scales)

    def merged(self, weight: Tensor) -> Tensor:
        """Return the weight itself, in place of ``weight``."""
        return int8.dequantize(self.held(), weight.dtype)

    def add_gradient(self, gradient: Tensor) -> None:
        """Add ``gradient`` (N, K), float32, and round the sum."""
        if self.gradient is not None:
            gradient = gradient + int8.dequantize(self.gradient)
        self.gradient = int8.rounded(gradient)

    @property
    def integers(self) -> int:
        return self.codes.numel()

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The anchor: the weight is the base."""
        return 1

    @classmethod
    def frozen(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The gradient and the moment of ``optimizer: qft``: 2 bytes, which are one value in bf16."""
        return shape[0] * (shape[1] + 4)

    def state(self, over: str = "original") -> dict[str, Tensor]:
        return {"codes": self.codes, "scales": self.scales}

    def load(self, state: dict[str, Tensor]) -> None:
        for name, own in self.state().items():
            if state[name].shape != own.shape:
                raise RuntimeError(f"{name} is {list(state[name].shape)}, not {list(own.shape)}")
            own.copy_(state[name])


class _IntegerLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, anchor: Tensor, adapter: IntegerWeight) -> Tensor:
        ctx.save_for_backward(x)
        ctx.adapter = adapter
        return product(x, int8.dequantize(adapter.held(), x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        adapter: IntegerWeight = ctx.adapter
        d_x = d_y @ int8.dequantize(adapter.held(), d_y.dtype) if ctx.needs_input_grad[0] else None
        d_weight = (d_y.T @ x).float()
        adapter.add_gradient(d_weight)
        return d_x, None, d_weight.norm().to(adapter.anchor.dtype).view(1), None
