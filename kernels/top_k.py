"""Exactly the k largest magnitudes of a tensor, by a radix histogram of their bits: nothing is sorted.

The bits of non-negative floats order as the floats do. A histogram of the leading bits tells which bin holds the
k-th largest, those of the bits below, within that bin, which value it is. Ties at that value go to the lower index, so the choice
is exact and the same everywhere.

Bytes: 4 a value and pass (3 passes), and 4 + 1 for the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import dispatch
from .cost import Cost

#: The bits of a magnitude that each pass looks at, from the top: few passes, of few enough bins for one GPU program.
DIGITS = (11, 10, 10)
#: Values looked at together: bounds the transient.
PART = 1 << 22
#: The bits of infinity: a magnitude at or above is not finite.
INFINITY = 0x7F800000


@dataclass(frozen=True, slots=True)
class Threshold:
    """The k-th largest magnitude, and how many of those equal to it belong to the k."""

    magnitude: float
    ties: int


def threshold(values: Tensor, k: int) -> Threshold:
    """Of ``values`` float32 (any shape), the ``k``-th largest magnitude.

    Raises ValueError for k outside [0, n], another dtype, or values that are not finite.
    """
    return streamed_threshold(lambda: [values], k)


def streamed_threshold(parts: Callable[[], Iterable[Tensor]], k: int) -> Threshold:
    """The same over all the tensors that ``parts()`` gives, which are never together in memory.

    ``parts`` is called once a pass and must give the same values each time.
    """
    left, prefix, shift = k, 0, sum(DIGITS)
    for number, digit in enumerate(DIGITS):
        shift -= digit
        counts = torch.zeros(1 << digit, dtype=torch.int64)
        for values in parts():
            counts += histogram(values, prefix, shift, digit).to(counts.device)
        if number == 0 and _check(k, counts):
            return Threshold(float("inf"), 0)
        # Where, coming from the top, the k-th value is: its bin, and its place among those in it.
        above = counts.flip(0).cumsum(0)
        place = int((above < left).sum())
        left -= int(above[place - 1]) if place else 0
        prefix = (prefix << digit) | (counts.numel() - 1 - place)
    return Threshold(torch.tensor(prefix, dtype=torch.int32).view(torch.float32).item(), left)


def top_k_mask(values: Tensor, k: int) -> Tensor:
    """True at exactly the ``k`` largest magnitudes of ``values`` float32 (any shape), False elsewhere, of values'
    shape. Of equal magnitudes the lower indices (row-major) come first. Raises as :func:`threshold`."""
    return mask_above(values, threshold(values, k))


def mask_above(values: Tensor, found: Threshold) -> Tensor:
    """True above the threshold and at the first ``found.ties`` values equal to it."""
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
    """How often each value of the ``digit`` bits above bit ``shift`` occurs among the magnitudes whose bits above those are
    ``prefix``: int64 (2**digit,). Raises ValueError for values that are not float32."""
    if values.dtype != torch.float32:
        raise ValueError(f"top-k is over float32 values, not {values.dtype}")
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
    """Refuse a k or values that have no answer; is it trivial?"""
    total = int(counts.sum())
    if not 0 <= k <= total:
        raise ValueError(f"cannot keep the {k} largest of {total} values")
    if counts[INFINITY >> sum(DIGITS[1:]) :].any():
        raise ValueError("the values hold NaN or infinities; no k of them are the largest")
    return k == 0


def cost(count: int) -> Cost:
    """The threshold and the mask over ``count`` values."""
    passes = len(DIGITS) + 1
    return Cost(4 * count * passes, count, 4 * count * passes)
