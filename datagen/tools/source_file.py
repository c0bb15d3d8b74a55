"""A file of Python functions that a parameter names."""

from __future__ import annotations

from hashlib import blake2b
from importlib.util import decode_source

from ...contracts.errors import DataError
from ...contracts.packaged_files import PACKAGED, no_such_file, place_of

ENDING = ".py"


def source_of(path: str) -> str:
    """Return the text of a Python file, in the encoding that it declares (PEP 263).

    ``gristmill:seeds/NAME.py`` is one that ships with the recipes.

    Raises DataError if it cannot be read.
    """
    place = place_of(path)
    if path.startswith(PACKAGED) and not place.is_file():
        raise no_such_file(path)
    try:
        return decode_source(place.read_bytes())
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def digest_of(path: str) -> str:
    """Return the digest of the text (32 hex digits). Raises DataError if it cannot be read."""
    return blake2b(source_of(path).encode(), digest_size=16).hexdigest()
