"""Values that JSON has no form of its own for: dates as ISO strings, decimals as numbers."""

from __future__ import annotations

from decimal import Decimal


def plain(value: object) -> str | int | float:
    """The value as JSON has it. Raises TypeError, with the kind of the value, if that would lose something.

    SQL makes decimals of plain numbers (``0.5 * length(response)``); a number that is read as a float is the
    same one.
    """
    isoformat = getattr(value, "isoformat", None)
    if isoformat is not None:
        return str(isoformat())
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value() and value.as_tuple().exponent == 0
        if whole and -(2**63) <= value < 2**63:  # readers make a float of a larger one
            return int(value)
        number = float(value)
        if Decimal(repr(number)) == value:
            return number
        why = "a whole number beyond 64 bits" if whole else "of more digits than a float has"
        raise TypeError(f"decimal, {why} ({value})")
    raise TypeError(type(value).__name__)
