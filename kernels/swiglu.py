"""SwiGLU, ``silu(gate) * up`` (Shazeer, arXiv 2002.05202)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import silu

from . import dispatch
from .cost import KernelCost


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Compute ``silu(gate) * up`` for tensors (..., I) of the same shape and dtype.

    Saves only its two inputs. Raises ValueError if shapes or dtypes differ.
    """
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise ValueError(f"gate {tuple(gate.shape)} {gate.dtype} and up {tuple(up.shape)} {up.dtype} differ")
    product: Tensor = _SwiGLU.apply(gate, up)  # type: ignore[no-untyped-call]
    return product


def cost(rows: int, size: int, itemsize: int, *, backward: bool = False) -> KernelCost:
    """Cost of one pass over (rows, I = ``size``) values of ``itemsize`` bytes."""
    values = rows * size * itemsize
    return (
        KernelCost(3 * values, 2 * values, 12 * rows * size)
        if backward
        else KernelCost(2 * values, values, 5 * rows * size)
    )


def product(gate: Tensor, up: Tensor) -> Tensor:
    """Compute the values of :func:`swiglu` without autograd."""
    if dispatch.on_triton(gate):
        from .gpu import swiglu as gpu

        return gpu.forward(_rows(gate), _rows(up)).view(gate.shape)
    return silu(gate).mul_(up)


def gradients(upstream: Tensor, gate: Tensor, up: Tensor, *, reuse: bool = False) -> tuple[Tensor, Tensor]:
    """Return the gradients of gate and up, given that of the product.

    ``reuse``: the first may overwrite ``upstream``, which the caller must not use any more.
    """
    if dispatch.on_triton(gate):
        from .gpu import swiglu as gpu

        rows = _rows(upstream)
        d_gate, d_up = gpu.backward(
            rows, _rows(gate), _rows(up), rows if reuse and rows.is_contiguous() else None
        )
        return d_gate.view(gate.shape), d_up.view(gate.shape)
    d_up = silu(gate).mul_(upstream)
    through = torch.mul(upstream, up, out=upstream) if reuse else upstream * up
    return torch.ops.aten.silu_backward.grad_input(through, gate, grad_input=through), d_up


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return product(gate, up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor]:
        return gradients(upstream, *ctx.saved_tensors)


def _rows(x: Tensor) -> Tensor:
    """Reshape (..., I) to (rows, I) with contiguous rows, copying only if necessary."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()
