"""Product with a matrix that is formed from fewer values, as one autograd operation.

``y = x F^T`` with ``F = form(values)``. Only x and the values are saved: the matrix is formed again in the
backward pass, and is there for one layer at a time.

FLOP for M tokens, an N x K matrix and f to form it: 2*M*K*N + f forward, 4*M*K*N + about 3*f backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import forward_mode
from .cost import KernelCost

Form = Callable[..., Tensor]


def formed_linear(x: Tensor, form: Form, *values: Tensor) -> Tensor:
    """Apply the matrix to ``x`` (tokens, K): (tokens, N), of x's dtype.

    ``form`` returns the matrix (N, K) for ``values``, differentiably, in their dtype; it is rounded once to
    x's. Differentiable once with respect to x and the values.
    """
    y: Tensor = forward_mode.run(_FormedLinear, x, form, *values)
    return y


def cost(
    tokens: int, inputs: int, outputs: int, itemsize: int, forming: int = 0, *, backward: bool = False
) -> KernelCost:
    """Cost of one pass over (tokens, K = ``inputs``). ``forming``: FLOP that the matrix (float32) takes."""
    weights, values = outputs * inputs, tokens * (inputs + outputs) * itemsize
    if backward:
        written = 4 * weights + tokens * inputs * itemsize
        return KernelCost(4 * weights + values, written, 4 * tokens * weights + 3 * forming)
    read = 4 * weights + tokens * inputs * itemsize
    return KernelCost(read, tokens * outputs * itemsize, 2 * tokens * weights + forming)


class _FormedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, form: Form, *values: Tensor) -> Tensor:
        ctx.save_for_backward(x, *values)
        ctx.form = form
        return x @ form(*values).to(x.dtype).T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        x, *values = ctx.saved_tensors
        with torch.enable_grad():
            leaves = [value.detach().requires_grad_() for value in values]
            matrix = ctx.form(*leaves)
        d_x = d_y @ matrix.detach().to(x.dtype) if ctx.needs_input_grad[0] else None
        d_matrix = (d_y.T @ x).to(matrix.dtype)
        return d_x, None, *torch.autograd.grad(matrix, leaves, d_matrix)
