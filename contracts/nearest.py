"""Messages about unknown names: what was found, and the closest valid name. Part of the contracts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from .other_names import with_value
from .printable import shown

#: Maximum number of valid names that are listed in full.
LISTED = 12


def nearest(found: str, valid: Iterable[str]) -> str | None:
    """The valid name closest to ``found``, or None if none is close."""
    names = sorted(valid)
    close = difflib.get_close_matches(found, names, n=1, cutoff=0.6)
    if close:
        return close[0]
    lowered = {name.lower(): name for name in names}
    return lowered.get(found.lower())


def did_you_mean(found: str, valid: Iterable[str]) -> str:
    """``; did you mean 'dedup'?`` to append to a message, or nothing if no valid name is close."""
    close = nearest(found, valid)
    return "" if close is None else f"; did you mean {close!r}?"


def suggestion(found: object, valid: Iterable[str]) -> str:
    """``found 'dedpu'; did you mean 'dedup'?``, or the valid names if none is close."""
    names = sorted(valid)
    shown = f"found {brief(found)}"
    meant = did_you_mean(found, names) if isinstance(found, str) else ""
    if meant:
        return shown + meant
    if not names:
        return f"{shown}; there is none"
    more = ", ..." if len(names) > LISTED else ""
    return f"{shown}; there is {', '.join(repr(name) for name in names[:LISTED])}{more}"


def unknown_key(
    found: object, valid: Iterable[str], other_names: Mapping[str, str], value: object = None
) -> str:
    """The message about a key that does not exist, and its value. ``other_names``: see Operator."""
    here = other_names.get(found) if isinstance(found, str) else None
    if here is None:
        return f"unknown key: {suggestion(found, valid)}"
    told = here if here.startswith("leave") else f"write `{with_value(here, value)}` here"
    return f"unknown key: found {brief(found)}; {told}"


def brief(value: object, width: int = 60) -> str:
    """A value as shown in a message: one line, without secrets, shortened if it is long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    text = shown(repr(value))
    return text if len(text) <= width else text[: width - 4] + " ..."
