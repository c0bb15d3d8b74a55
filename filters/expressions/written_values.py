"""Values of a pipeline file that stand for an SQL expression: YAML reads ``true`` and ``1`` as no text."""

from __future__ import annotations

import math
import re

_DATE = re.compile(r"\s*(\d{4}-\d{1,2}-\d{1,2})\s*")


def boolean_as_sql(value: object) -> object:
    """``True`` as ``true``; anything else as it is.

    Raises ValueError for a date that lacks ``DATE``, of which SQL computes a difference.
    """
    if isinstance(value, str) and (date := _DATE.fullmatch(value)):
        raise ValueError(f"must be written as DATE '{date[1]}': SQL would subtract the parts")
    return str(value).lower() if isinstance(value, bool) else value


def number_as_sql(value: object) -> object:
    """A boolean or a finite number as the expression that is written like it; anything else as it is."""
    if isinstance(value, float) and not math.isfinite(value):
        return value
    return repr(value) if type(value) in (int, float) else boolean_as_sql(value)
