"""What an operation must at least move and compute, and how long a machine needs for that at best."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """The least bytes read and written, each operand counted once, and the floating-point operations."""

    read: int
    written: int
    flop: int

    @property
    def moved(self) -> int:
        """Bytes read and written."""
        return self.read + self.written

    def __add__(self, other: Cost) -> Cost:
        """Of both, one after the other."""
        return Cost(self.read + other.read, self.written + other.written, self.flop + other.flop)

    def seconds(self, bytes_per_second: float, flop_per_second: float) -> float:
        """The roofline: the slower of moving and computing (Williams, Waterman, Patterson, CACM 52(4), 2009)."""
        return max(self.moved / bytes_per_second, self.flop / flop_per_second)
