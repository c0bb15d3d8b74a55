"""SwiGLU, ``silu(gate) * up``, and GeGLU, ``gelu(gate) * up`` (Shazeer, arXiv 2002.05202)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu, silu

from . import dispatch, forward_mode
from .cost import KernelCost

#: Activation of the gate: SiLU, or GELU with its tanh approximation (Hendrycks and Gimpel, arXiv 1606.08415).
Activation = Literal["silu", "gelu_tanh"]


def swiglu(gate: Tensor, up: Tensor, activation: Activation = "silu") -> Tensor:
    """Compute ``activation(gate) * up`` for tensors (..., I) of the same shape and dtype.

    Saves only its two inputs. Raises ValueError if shapes or dtypes differ.
    """
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise ValueError(f"gate {tuple(gate.shape)} {gate.dtype} and up {tuple(up.shape)} {up.dtype} differ")
    product: Tensor = forward_mode.run(_SwiGLU, gate, up, activation)
    return product


def cost(rows: int, size: int, itemsize: int, *, backward: bool = False) -> KernelCost:
    """Cost of one pass over (rows, I = ``size``) values of ``itemsize`` bytes."""
    values = rows * size * itemsize
    return (
        KernelCost(3 * values, 2 * values, 12 * rows * size)
        if backward
        else KernelCost(2 * values, values, 5 * rows * size)
    )


def product(gate: Tensor, up: Tensor, activation: Activation = "silu") -> Tensor:
    """Compute the values of :func:`swiglu` without autograd."""
    if dispatch.on_triton(gate):
        from .gpu import swiglu as gpu

        return gpu.forward(_rows(gate), _rows(up), activation == "silu").view(gate.shape)
    return _activated(gate, activation).mul_(up)


def gradients(
    upstream: Tensor, gate: Tensor, up: Tensor, activation: Activation = "silu", *, reuse: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the gradients of gate and up, given that of the product.

    ``reuse``: the first may overwrite ``upstream``, which the caller must not use any more.
    """
    if dispatch.on_triton(gate):
        from .gpu import swiglu as gpu

        rows = _rows(upstream)
        d_gate, d_up = gpu.backward(
            rows,
            _rows(gate),
            _rows(up),
            activation == "silu",
            rows if reuse and rows.is_contiguous() else None,
        )
        return d_gate.view(gate.shape), d_up.view(gate.shape)
    d_up = _activated(gate, activation).mul_(upstream)
    through = torch.mul(upstream, up, out=upstream) if reuse else upstream * up
    if activation == "gelu_tanh":
        back = torch.ops.aten.gelu_backward.grad_input
        return back(through, gate, approximate="tanh", grad_input=through), d_up
    return torch.ops.aten.silu_backward.grad_input(through, gate, grad_input=through), d_up


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, activation: Activation) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.activation = activation
        return product(gate, up, activation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        return *gradients(upstream, gate, up, ctx.activation), None


def _activated(gate: Tensor, activation: Activation) -> Tensor:
    return silu(gate) if activation == "silu" else gelu(gate, approximate="tanh")


def _rows(x: Tensor) -> Tensor:
    """Reshape (..., I) to (rows, I) with contiguous rows, copying only if necessary."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()
