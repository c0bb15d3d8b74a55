"""The factors of a low-rank adapter in the dtype of the computation, kept until they change.

Factors are trained in float32, and products use them rounded, B multiplied by the scale. To round them in
each pass would take more launches on a GPU than the products themselves.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ...kernels import forward_mode
from ...kernels.lora_maps import Rounded

if TYPE_CHECKING:
    from .lora import LoRA


class RoundedFactors:
    """Keeps the rounded factors A and B of one adapter; any operation that writes to either is noticed."""

    def __init__(self) -> None:
        self._kept: Rounded | None = None
        self._made_of: Hashable = None

    def of(self, a: Tensor, b: Tensor, scale: float, dtype: torch.dtype) -> Rounded:
        """Return the factors in ``dtype``, rounded anew if they have changed since the last call."""
        if forward_mode.active():  # what is kept has no tangents
            return Rounded.of(a, b, scale, dtype)
        state = _state(a, b, scale, dtype)
        if self._kept is None or self._made_of != state:
            self._kept, self._made_of = Rounded.of(a, b, scale, dtype), state
        return self._kept

    def outdated(self, a: Tensor, b: Tensor, scale: float) -> Rounded | None:
        """Return what is kept if it can be overwritten by newer values of the same factors."""
        kept = self._kept
        if kept is None or self._made_of == _state(a, b, scale, kept.a.dtype):
            return None
        fits = kept.a.shape == a.shape and kept.a.device == a.device and kept.a.dtype != a.dtype
        return kept if fits else None

    def renewed(self, a: Tensor, b: Tensor, scale: float, kept: Rounded) -> None:
        """Note that ``kept`` holds the present values."""
        self._made_of = _state(a, b, scale, kept.a.dtype)


def round_factors(adapters: Iterable[nn.Module | None]) -> None:
    """Round the factors of all adapters that have changed, in a few launches together.

    It only saves time: an adapter whose factors have changed rounds its own at its next use.
    """
    found: list[tuple[LoRA, Rounded]] = []
    for each in adapters:
        if isinstance(getattr(each, "rounded", None), RoundedFactors):
            adapter = cast("LoRA", each)
            kept = adapter.rounded.outdated(adapter.a, adapter.b, adapter.scale)
            if kept is not None:
                found.append((adapter, kept))
    if not found:
        return
    with torch.no_grad():
        torch._foreach_copy_([kept.a for _, kept in found], [each.a for each, _ in found])
        scaled = torch._foreach_mul([each.b for each, _ in found], [each.scale for each, _ in found])
        torch._foreach_copy_([kept.b for _, kept in found], list(scaled))
    for each, kept in found:
        each.rounded.renewed(each.a, each.b, each.scale, kept)


def _state(a: Tensor, b: Tensor, scale: float, dtype: torch.dtype) -> Hashable:
    return (*((each._version, each.data_ptr(), each.dtype, each.device) for each in (a, b)), scale, dtype)
