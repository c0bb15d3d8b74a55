"""A weight of integer groups whose scales, zero points and codes are trained, for
:mod:`gristmill.trainer.sparse.pv`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear as product
from torch.nn.functional import pad

from ...contracts.errors import ModelError
from ...kernels.grouped import GROUP, GroupedTensor
from .adapter import Adapter

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class GroupedWeight(Adapter):
    """``(code - zero) * scale``, with trained float32 ``scales`` and ``zeros`` (groups,).

    The codes are those of the base. A policy may change them, by the gradient of the weight: it sets
    ``wanted``, and the next backward passes add up ``gradient`` (N, K), float32.
    """

    formed: ClassVar[int] = 4
    reads_base: ClassVar[bool] = False
    packed: Tensor

    def __init__(self, base: GroupedTensor) -> None:
        super().__init__()
        self.base, self.wanted = base, False
        self.gradient: Tensor | None = None
        self.register_buffer("packed", base.packed)
        self.scales = nn.Parameter(base.scales.float().clone())
        self.zeros = nn.Parameter(base.zeros.float().clone())

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        if not isinstance(linear.base, GroupedTensor):
            raise ModelError("kind 'pv' needs a base of integers in groups: give quantize: int2 or int4")
        return cls(linear.base)

    @property
    def largest(self) -> int:
        """The largest code."""
        return self.base.largest

    @property
    def integers(self) -> int:
        rows, columns = self.base.shape
        return rows * columns

    def codes(self) -> Tensor:
        """Return the codes, uint8 (N, K)."""
        return self.base.codes().view(self.base.shape)

    def set_codes(self, codes: Tensor) -> None:
        """Make ``codes``, uint8 (N, K), those of the base."""
        self.packed.copy_(self.base.pack(codes.flatten()))

    def groups(self, values: Tensor) -> Tensor:
        """Return ``values`` (N, K) as float32 (groups, group), with zeros for what the last lacks."""
        flat = values.flatten().to(self.scales.dtype)
        return pad(flat, (0, -flat.numel() % self.base.group)).view(-1, self.base.group)

    def whole(self) -> Tensor:
        """Return the weight (N, K), in the dtype of the scales."""
        values = (self.groups(self.codes()) - self.zeros[:, None]) * self.scales[:, None]
        rows, columns = self.base.shape
        return values.view(-1)[: rows * columns].view(rows, columns)

    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        given = (x, bias, self.scales, self.zeros, self)
        y: Tensor = _GroupedLinear.apply(*given)  # type: ignore[no-untyped-call]
        return y

    def merged(self, weight: Tensor) -> Tensor:
        """Return the weight itself, in place of ``weight``."""
        return self.whole().detach().to(weight.dtype)

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return 2 * -(-shape[0] * shape[1] // GROUP)

    def state(self, over: str = "original") -> dict[str, Tensor]:
        return {"scales": self.scales.detach(), "zeros": self.zeros.detach(), "packed": self.packed}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        if state["packed"].shape != self.packed.shape:
            raise RuntimeError(f"packed is {list(state['packed'].shape)}, not {list(self.packed.shape)}")
        self.packed.copy_(state["packed"])


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, scales: Tensor, zeros: Tensor, adapter: GroupedWeight
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.adapter = adapter
        return product(x, adapter.whole().to(x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        adapter: GroupedWeight = ctx.adapter
        d_x = d_y @ adapter.whole().to(d_y.dtype) if ctx.needs_input_grad[0] else None
        d_weight = (d_y.T @ x).to(adapter.scales.dtype)
        if adapter.wanted:
            adapter.gradient = d_weight if adapter.gradient is None else adapter.gradient + d_weight
        groups = adapter.groups(d_weight)
        d_scales = (groups * (adapter.groups(adapter.codes()) - adapter.zeros[:, None])).sum(1)
        d_zeros = -groups.sum(1) * adapter.scales
        return d_x, None, d_scales, d_zeros, None
