"""How long to wait before the next attempt, as a server asks or by itself."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_PAUSE = 60.0
#: A duration in a header of OpenAI's or in the body of Google's errors: ``20ms``, ``34s``, ``1m30.5s``,
#: ``2h``.
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def pause_before(attempt: int, asked: float | None, *, longest: float = _LONGEST_PAUSE) -> float:
    """Return the seconds to wait after attempt number ``attempt`` (from 1).

    This is the delay that the server requested, else an exponential one. Jitter keeps requests that were
    refused together from being retried together.
    """
    if asked is not None:
        return asked + random.uniform(0, 0.1)
    return min(0.5 * 2.0 ** min(attempt - 1, 20), longest) * random.uniform(0.5, 1.5)


def asked_pause(headers: Mapping[str, str], said: object = None) -> float | None:
    """Return the seconds that a server asks to wait, in any of the forms in use; None if it does not.

    ``headers`` (names in any case if the mapping allows it): ``retry-after-ms``; ``retry-after``, a number or
    a date; ``x-ratelimit-reset-requests`` and ``-tokens``, of the one of which nothing remains. ``said``: the
    JSON of the error, in which Google gives a ``retryDelay``.
    """
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    found = retry_after(headers.get("retry-after"))
    if found is not None:
        return found
    resets = [
        seconds
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
        and (seconds := _duration(headers.get(f"x-ratelimit-reset-{what}"))) is not None
    ]
    return max(resets) if resets else _retry_delay(said)


def retry_after(header: str | None) -> float | None:
    """Return the seconds in a ``Retry-After`` header (a number or a date); None if it is not valid."""
    if not header:
        return None
    try:
        seconds = float(header)
        return max(0.0, seconds) if seconds < float("inf") else None
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return _duration(header)
    left = float((when - datetime.now(UTC if when.tzinfo else None)).total_seconds())
    return max(0.0, left)


def _duration(text: str | None) -> float | None:
    """Return the seconds of a duration such as ``1m30s``; a bare number is in seconds."""
    if not text:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    units = (3600.0, 60.0, 1.0, 0.001)
    return sum(float(part) * unit for part, unit in zip(found.groups(), units, strict=True) if part)


def _retry_delay(said: object) -> float | None:
    """Return the ``retryDelay`` among the details of an error of Google's."""
    if isinstance(said, list):
        said = said[0] if said else None
    error = said.get("error") if isinstance(said, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
            return _duration(detail["retryDelay"])
    return None
