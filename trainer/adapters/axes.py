"""Sizes of the axes that a dimension is split into, for tensor adapters."""

from __future__ import annotations


def split_axes(size: int, count: int) -> tuple[int, ...]:
    """Return ``count`` factors of ``size``, as equal as it can be, ascending.

    A prime has only itself and ones.
    """
    factors: list[int] = []
    for left in range(count, 1, -1):
        most = round(size ** (1 / left) + 1e-9)
        best = max(factor for factor in range(1, max(1, most) + 1) if size % factor == 0)
        factors.append(best)
        size //= best
    return tuple(sorted([*factors, size]))
