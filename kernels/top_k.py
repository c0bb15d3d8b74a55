"""Exact selection of the k largest magnitudes of a tensor, by a radix histogram without sorting.

The bits of non-negative floats have the same order as the floats. A histogram of the leading bits shows which
bin contains the k-th largest magnitude; histograms of the following bits within that bin give its value. Ties
at that value are resolved to the lower index, so the selection is exact and the same on all devices.

Bytes: 4 per value and pass (3 passes), and 4 + 1 for the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import dispatch
from .cost import KernelCost

#: Bits of a magnitude in each pass, from the top: few passes, with few enough bins for a GPU program.
DIGITS = (11, 10, 10)
#: Number of values that are processed at once. This limits temporary memory.
PART = 1 << 22
#: The bits of infinity: a magnitude with these or larger bits is not finite.
INFINITY = 0x7F800000


@dataclass(frozen=True, slots=True)
class Threshold:
    """The k-th largest magnitude, and the number of entries equal to it that are among the k."""

    magnitude: float
    ties: int


def threshold(values: Tensor, k: int) -> Threshold:
    """Return the ``k``-th largest magnitude of ``values``, float32, any shape.

    Raises ValueError for k outside [0, n], another dtype, or values that are not finite.
    """
    return streamed_threshold(lambda: [values], k)


def streamed_threshold(parts: Callable[[], Iterable[Tensor]], k: int) -> Threshold:
    """Return the :func:`threshold` over all tensors of ``parts()``, of which one is in memory at a time.

    ``parts`` is called once per pass and must return the same values each time.
    """
    left, prefix, shift = k, 0, sum(DIGITS)
    for number, digit in enumerate(DIGITS):
        shift -= digit
        counts = torch.zeros(1 << digit, dtype=torch.int64)
        for values in parts():
            counts += histogram(values, prefix, shift, digit).to(counts.device)
        if number == 0 and _check(k, counts):
            return Threshold(float("inf"), 0)
        # Find the bin of the k-th value from the top, and its place within the bin.
        above = counts.flip(0).cumsum(0)
        place = int((above < left).sum())
        left -= int(above[place - 1]) if place else 0
        prefix = (prefix << digit) | (counts.numel() - 1 - place)
    return Threshold(torch.tensor(prefix, dtype=torch.int32).view(torch.float32).item(), left)


def top_k_mask(values: Tensor, k: int) -> Tensor:
    """Return a mask that is True at exactly the ``k`` largest magnitudes of ``values`` (float32, any shape).

    Of equal magnitudes, lower indices (row-major) come first. Raises as :func:`threshold`.
    """
    return mask_above(values, threshold(values, k))


def mask_above(values: Tensor, found: Threshold) -> Tensor:
    """Return a mask that is True above the threshold and at the first ``found.ties`` values equal to it."""
    flat = values.reshape(-1)
    mask = torch.empty(flat.shape, dtype=torch.bool, device=flat.device)
    taken = 0
    for start in range(0, flat.numel(), PART):
        magnitudes = flat[start : start + PART].abs()
        part = mask[start : start + PART]
        torch.gt(magnitudes, found.magnitude, out=part)
        if taken < found.ties:
            equal = (magnitudes == found.magnitude).nonzero()[: found.ties - taken, 0]
            part[equal] = True
            taken += equal.numel()
    return mask.view(values.shape)


def histogram(values: Tensor, prefix: int, shift: int, digit: int) -> Tensor:
    """Count the values of the ``digit`` bits above bit ``shift``: int64 (2**digit,).

    Only magnitudes whose higher bits equal ``prefix`` are counted. Raises ValueError for values that are not
    float32.
    """
    if values.dtype != torch.float32:
        raise ValueError(f"top-k needs float32 values, not {values.dtype}")
    flat = values.detach().reshape(-1)
    if dispatch.on_triton(flat):
        from .gpu import top_k as gpu

        return gpu.histogram(flat, prefix, shift, digit)
    counts = torch.zeros(1 << digit, dtype=torch.int64, device=flat.device)
    for start in range(0, flat.numel(), PART):
        bits = flat[start : start + PART].abs().view(torch.int32) >> shift
        bits = bits[(bits >> digit) == prefix].bitwise_and_((1 << digit) - 1)
        counts += torch.bincount(bits, minlength=1 << digit)
    return counts


def _check(k: int, counts: Tensor) -> bool:
    """Raise ValueError for an invalid k or values that are not finite. Return whether the mask is trivial."""
    total = int(counts.sum())
    if not 0 <= k <= total:
        raise ValueError(f"cannot keep the {k} largest of {total} values")
    if counts[INFINITY >> sum(DIGITS[1:]) :].any():
        raise ValueError("the values contain NaN or infinities, so the k largest are not defined")
    return k == 0


def cost(count: int) -> KernelCost:
    """Cost of the threshold and the mask over ``count`` values."""
    passes = len(DIGITS) + 1
    return KernelCost(4 * count * passes, count, 4 * count * passes)
