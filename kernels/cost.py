"""Least memory traffic and computation of an operation, and the least time that they take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KernelCost:
    """Least bytes read and written, counting each operand once, and the floating-point operations."""

    read: int
    written: int
    flop: int

    @property
    def moved(self) -> int:
        """Bytes read and written."""
        return self.read + self.written

    def __add__(self, other: KernelCost) -> KernelCost:
        """Cost of both operations, one after the other."""
        return KernelCost(self.read + other.read, self.written + other.written, self.flop + other.flop)

    def seconds(self, bytes_per_second: float, flop_per_second: float) -> float:
        """Roofline time: the larger of the times of memory traffic and of computation.

        Williams, Waterman, Patterson, CACM 52(4), 2009.
        """
        return max(self.moved / bytes_per_second, self.flop / flop_per_second)
