"""Keeps keys out of the report, whatever a file or a model put into the run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from html import escape
from typing import Any

HIDDEN = "•••"
#: Names under which people keep keys.
SECRET = re.compile(r"((api|access)_?keys?|auth|token|secrets?|passwo?r?d|credentials?)$", re.IGNORECASE)
#: Shorter values of such variables are words ("false"), not keys.
SHORTEST = 8


def without_secrets(value: Any) -> Any:
    """The value with every text under a key's name hidden."""
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if isinstance(inner, str) and SECRET.search(str(name)) else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [without_secrets(inner) for inner in value]
    return value


def scrub(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text with the values of the environment's keys hidden, as they are and as HTML writes them."""
    for name, value in (os.environ if environment is None else environment).items():
        if SECRET.search(name) and len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN).replace(escape(value), HIDDEN)
    return text
