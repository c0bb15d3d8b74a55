"""Numbers in rows, of whatever type a source or SQL gives them."""

from __future__ import annotations

import math
from decimal import Decimal

#: The types of numbers in rows. SQL makes decimals of plain numbers, such as ``0.5``.
NUMBERS = (int, float, Decimal)


def as_number(value: object) -> float | None:
    """Return a finite number as a float: true is 1, false is 0. None for anything else."""
    if not isinstance(value, NUMBERS):
        return None
    number = float(value)
    return number if math.isfinite(number) else None
