"""The tokens and the cost that a server reports, as far as they can be true."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

#: More tokens than any exchange has: a larger count is an error of the server.
MOST_TOKENS = 1 << 24
#: US dollars.
MOST_COST = 1e6
_COUNTS = ("prompt_tokens", "completion_tokens", "prompt_cache_hit_tokens")


def usable(usage: object) -> Json:
    """Return the parts of an answer's ``usage`` that can be true; empty if there is none.

    Counts are whole numbers from 0 to ``MOST_TOKENS``, a cost is a number from 0 to ``MOST_COST``. What is
    anything else is as if it had not been reported, so that an odd report costs no row.
    """
    if not isinstance(usage, dict):
        return {}
    made: Json = {name: int(usage[name]) for name in _COUNTS if _is_count(usage.get(name))}
    details = usage.get("prompt_tokens_details")
    if isinstance(details, dict) and _is_count(details.get("cached_tokens")):
        made["prompt_tokens_details"] = {"cached_tokens": int(details["cached_tokens"])}
    if _is_at_most(MOST_COST, usage.get("cost")):
        made["cost"] = float(usage["cost"])
    return made


def _is_count(value: Any) -> bool:
    return _is_at_most(MOST_TOKENS, value)


def _is_at_most(most: float, value: Any) -> bool:
    """Whether it is a number from 0 to ``most``; NaN and booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
