"""Small JSON files with a seal. All records of the run directory are written and read here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...contracts.secrets import scrubbed
from .damage import Damaged
from .files import write_bytes
from .seal import OPEN, read_sealed, seal

#: The last key of every record.
SEAL = "digest of this file"
_MARK = f'"{SEAL}": "'.encode()

#: The required keys of a record: key -> the type, or types, of its value.
Shape = Mapping[str, type | tuple[type, ...]]
NUMBER = (int, float)


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with its seal, atomically and without secrets. Raises StoreError."""
    text = (
        json.dumps({**scrubbed(value), SEAL: OPEN.decode()}, indent=1, ensure_ascii=False, default=str) + "\n"
    )
    data = bytearray(text.encode(errors="backslashreplace"))
    seal(data, _MARK)
    write_bytes(path, data)


def read_record(path: Path, shape: Shape) -> dict[str, Any]:
    """Read a record, without its seal.

    Raises Damaged if it differs from what was written or does not have this shape; StoreError.
    """
    try:
        value = json.loads(read_sealed(path, _MARK))
    except ValueError as error:
        raise Damaged(path, f"it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Damaged(path, f"it holds a {type(value).__name__}, not an object")
    check_shape(value, shape, path)
    del value[SEAL]
    return value


def check_shape(value: Mapping[str, Any], shape: Shape, path: Path) -> None:
    """Raise Damaged if a key of the shape is missing or its value has another type."""
    for key, types in shape.items():
        if not isinstance(value.get(key), types):
            raise Damaged(
                path, f"its {key!r} is {value[key]!r:.40}" if key in value else f"it has no {key!r}"
            )
