"""``pytest.approx``: equality up to a tolerance, for numbers and for containers and arrays of numbers."""

from __future__ import annotations

import cmath
import math
from collections.abc import Collection, Mapping
from decimal import Decimal
from numbers import Complex
from typing import Any

RELATIVE, ABSOLUTE = 1e-6, 1e-12


class Approx:
    """Equal to values within a relative tolerance ``rel`` (1e-6) or an absolute one ``abs`` (1e-12)."""

    __hash__ = None  # type: ignore[assignment]
    # Lets NumPy arrays leave the comparison to this class.
    __array_ufunc__ = None
    __array_priority__ = 100

    def __init__(self, expected: Any, rel: Any = None, abs: Any = None, nan_ok: bool = False) -> None:
        if isinstance(expected, (set, frozenset)):
            raise TypeError(f"approx cannot compare a {type(expected).__name__}, which has no order")
        self.expected, self.rel, self.abs, self.nan_ok = expected, rel, abs, nan_ok

    def __eq__(self, actual: object) -> bool:
        return self._same(actual, self.expected)

    def __ne__(self, actual: object) -> bool:
        return not self == actual

    def __bool__(self) -> bool:
        raise AssertionError("compare approx() with ==; its truth value is not defined")

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    def _same(self, actual: Any, expected: Any) -> bool:
        if hasattr(expected, "__array__") and hasattr(expected, "tolist"):
            return self._same_arrays(actual, expected)
        if isinstance(expected, Mapping):
            return (
                isinstance(actual, Mapping)
                and set(actual) == set(expected)
                and all(self._same_scalars(actual[key], value) for key, value in expected.items())
            )
        if (
            isinstance(expected, Collection)
            and hasattr(expected, "__getitem__")
            and not isinstance(expected, (str, bytes))
        ):
            return (
                isinstance(actual, Collection)
                and not isinstance(actual, (str, bytes))
                and len(actual) == len(expected)
                and all(self._same_scalars(one, other) for one, other in zip(actual, expected, strict=True))
            )
        return self._same_scalars(actual, expected)

    def _same_arrays(self, actual: Any, expected: Any) -> bool:
        import numpy as np

        got = np.asarray(actual)
        if expected.ndim and got.ndim and got.shape != expected.shape:
            return False
        pairs = zip(*(each.ravel().tolist() for each in np.broadcast_arrays(got, expected)), strict=True)
        return all(self._same_scalars(one, other) for one, other in pairs)

    def _same_scalars(self, actual: Any, expected: Any) -> bool:
        if hasattr(actual, "__array__") and hasattr(actual, "ravel") and actual.ndim:
            return all(self._same_scalars(one, expected) for one in actual.ravel().tolist())
        if isinstance(expected, bool) and not isinstance(actual, bool):
            return False
        if actual == expected:
            return True
        if not all(isinstance(each, (Complex, Decimal)) for each in (actual, expected)):
            return False
        if _nan(expected) or _nan(actual):
            return self.nan_ok and _nan(expected) and _nan(actual)
        if _infinite(expected) or _infinite(actual):
            return False
        return bool(abs(expected - actual) <= self._tolerance(expected))

    def _tolerance(self, expected: Any) -> Any:
        kind = Decimal if isinstance(expected, Decimal) else float
        absolute = kind(str(ABSOLUTE)) if self.abs is None else self.abs
        if self.rel is None and self.abs is not None:
            return absolute
        relative = (kind(str(RELATIVE)) if self.rel is None else self.rel) * abs(expected)
        return max(relative, absolute)


def _nan(number: Any) -> bool:
    return number.is_nan() if isinstance(number, Decimal) else cmath.isnan(number)


def _infinite(number: Any) -> bool:
    return number.is_infinite() if isinstance(number, Decimal) else math.isinf(abs(number))
