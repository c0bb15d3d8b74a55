"""SwiGLU, ``silu(gate) * up`` (Shazeer, arXiv 2002.05202).

Minimum bytes for M x I values of s bytes: 3*M*I*s forward, 5*M*I*s backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import silu


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """``silu(gate) * up``, tensors of one shape and dtype. Saves its two inputs only."""
    product: Tensor = _SwiGLU.apply(gate, up)  # type: ignore[no-untyped-call]
    return product


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        d_up = silu(gate).mul_(upstream)
        d_gate = torch.ops.aten.silu_backward(upstream * up, gate)
        return d_gate, d_up
