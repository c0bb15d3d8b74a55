"""Derivatives along a direction, computed with the values and without a backward pass (forward mode).

PyTorch's forward mode follows PyTorch's own operations. Within :func:`tangents`, the operations of this
package therefore run in their plain form, which uses those alone (Baydin et al., "Gradients without
Backpropagation", arXiv 2202.08587).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import dispatch

_active = False


@contextmanager
def tangents() -> Iterator[None]:
    """Let operations carry the tangents of their inputs. For the whole process."""
    global _active
    before, _active = _active, True
    try:
        with forward_ad.dual_level(), dispatch.use("plain"):
            yield
    finally:
        _active = before


def active() -> bool:
    """Return whether operations carry tangents now."""
    return _active


def along(value: Tensor, tangent: Tensor) -> Tensor:
    """Return ``value`` with the direction ``tangent``, of its shape and dtype."""
    dual: Tensor = forward_ad.make_dual(value.detach(), tangent)  # type: ignore[no-untyped-call]
    return dual


def slope(value: Tensor) -> Tensor:
    """Return the derivative of ``value`` along the directions, zero if it does not depend on them."""
    found = forward_ad.unpack_dual(value).tangent if _active else None  # type: ignore[no-untyped-call]
    return torch.zeros_like(value) if found is None else found


def run(function: type[torch.autograd.Function], *inputs: Any) -> Any:
    """Call an autograd function: its forward pass alone, if tangents are carried."""
    if not _active:
        return function.apply(*inputs)  # type: ignore[no-untyped-call]
    return function.forward(_NothingSaved(), *inputs)


class _NothingSaved:
    """The context of an autograd function without a backward pass."""

    needs_input_grad = (False,) * 16

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...

    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...

    def set_materialize_grads(self, value: bool) -> None: ...
