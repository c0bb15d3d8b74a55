"""Sizes of memory in a pipeline file and on the command line: ``500MB``, ``2GB``, ``1.5GiB``."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}
#: A step that may use less could not hold its interpreter, Arrow and one batch.
LEAST = 100 * 10**6


def bytes_of(value: object) -> int | None:
    """Convert ``"2GB"`` to bytes; a whole number is bytes; None stays None.

    Raises ValueError if it is not a size, or less than 100 MB.
    """
    if value is None:
        return None
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?B)", value.strip(), re.IGNORECASE)
        size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else None
    else:
        size = value if isinstance(value, int) and not isinstance(value, bool) else None
    if size is None:
        raise ValueError(f"is not a size: found {value!r}; write bytes, or '500MB', '2GB', '1.5GiB'")
    if size < LEAST:
        raise ValueError(f"is too little: found {size:,} bytes; give at least 100MB")
    return size


Bytes: TypeAlias = Annotated[
    int,
    BeforeValidator(bytes_of),
    Field(ge=LEAST),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": LEAST},
                {"type": "string", "pattern": r"^\d+(\.\d+)? ?([KMGTkmgt][Ii]?)?[Bb]$"},
            ]
        }
    ),
]
