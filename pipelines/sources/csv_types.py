"""The types of the columns of CSV files, whose fields are texts, and the values of these texts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

#: ``empty``: nothing but empty fields so far.
Kind: TypeAlias = Literal["empty", "bool", "int", "long", "float", "text"]
#: The types that a user may give a column.
Given: TypeAlias = Literal["text", "int", "float", "bool"]

_INT = re.compile(r"-?(?:0|[1-9]\d{0,17})")
#: With a decimal point, or with a signed exponent: programs write 100000.0 as 1e+05, and 12e5 is a code.
_FLOAT = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]\d+)")
_TRUTH = {"true": True, "false": False}
#: Significant digits that a float holds exactly.
_DIGITS = 15


def kind_of(text: str) -> Kind:
    """The narrowest type that holds the value of the field. ``007``, ``+49`` and ``12e5`` are texts.

    Blanks around it do not count, nor do zeros at the end of a fraction.
    """
    text = text.strip()
    if text == "":
        return "empty"
    if _INT.fullmatch(text):
        return "text" if text == "-0" else "int" if abs(int(text)) <= 2**53 else "long"
    if _FLOAT.fullmatch(text):
        digits = re.sub(r"[eE].*|\D", "", text).lstrip("0")
        return "float" if len(digits) <= _DIGITS and math.isfinite(float(text)) else "text"
    return "bool" if text.lower() in _TRUTH else "text"


def joined(one: Kind, other: Kind) -> Kind:
    """The narrowest type that holds the fields of both."""
    if one == other or other == "empty":
        return one
    if one == "empty":
        return other
    both = {one, other}
    if both == {"int", "long"}:
        return "long"
    return "float" if both == {"int", "float"} else "text"


def value_of(text: str, kind: Kind) -> Any:
    """The value of a field. An empty one is null, and a blank one if it is no text.

    Raises ValueError if it is not of the type.
    """
    if kind in ("text", "empty"):
        return text or None
    text = text.strip()
    if text == "":
        return None
    if kind == "bool":
        if text.lower() not in _TRUTH:
            raise ValueError(f"{text!r:.60} is not true or false")
        return _TRUTH[text.lower()]
    if kind == "float":
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{text!r:.60} is not a number")
        return number
    if not re.fullmatch(r"[+-]?\d{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text!r:.60} is not a whole number of 64 bits")
    return int(text)


def arrow_types(kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The Arrow types of columns."""
    import pyarrow as pa

    known = {"bool": pa.bool_(), "int": pa.int64(), "long": pa.int64(), "float": pa.float64()}
    return {name: known.get(kind, pa.string()) for name, kind in kinds.items()}
