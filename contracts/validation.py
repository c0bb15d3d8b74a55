"""Pydantic's validation errors in plain words. Part of the contracts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .counting import counted

#: pydantic's error type -> message, filled in with the error's context.
_WORDS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "string_pattern_mismatch": "must match {pattern}",
    "missing": "is required, but missing",
    "extra_forbidden": "is an unknown key",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}


def told(detail: Mapping[str, Any]) -> str:
    """The message without place and value: "must be greater than 0", "must have at least 1 entry".

    ``detail``: one of ``ValidationError.errors()``.
    """
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("too_short", "too_long"):
        least = kind == "too_short"
        number = context["min_length" if least else "max_length"]
        return f"must have at {'least' if least else 'most'} {counted(number, 'entry', 'entries')}"
    if kind in ("string_too_short", "string_too_long"):
        least = kind == "string_too_short"
        number = context["min_length" if least else "max_length"]
        return f"must have at {'least' if least else 'most'} {counted(number, 'character')}"
    if kind in ("value_error", "assertion_error"):
        return str(detail["msg"]).partition(", ")[2] or str(detail["msg"])
    if kind in _WORDS:
        return _WORDS[kind].format(**{name: _plain(value) for name, value in context.items()})
    return re.sub(
        r"^(?:Input|Value|String|List|Tuple|Set|Dictionary|Data) should (be|have)", r"must \1", detail["msg"]
    )


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
