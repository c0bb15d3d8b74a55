"""What helps against a text that is no JSON: the mistakes that files of rows usually have."""

from __future__ import annotations

import re

_PYTHON = re.compile(r"[{\[]\s*'|[:,\[]\s*(None|True|False)\s*[,\]}]")


def is_wide(line: bytes) -> bool:
    """Whether the bytes, which begin with JSON, are text of UTF-16 or UTF-32: its first letter is ASCII."""
    return b"\x00" in line[:4] and bool(line[:4].strip(b"\x00"))


def fix_of(text: str, said: str, at: int) -> str:
    """What to do about a text of which Python's parser says something about the character ``at``."""
    if text.strip() in ("{", "["):
        return "an array, or objects over several lines, are read from a file that is named .json: rename it"
    before, found = text[:at].rstrip(), text[at:].strip()
    if said == "Extra data" and found == ",":
        return "remove the comma at its end"
    if said == "Extra data" and found.lstrip(", ").startswith(("{", "[")):
        return "write one object per line"
    if found.startswith(("}", "]")) and before.endswith(","):
        return f"remove the comma before {found[0]!r}"
    if found.startswith(",") and "trailing comma" in said:  # Python from 3.13 on
        return f"remove the comma before {found[1:].strip()[:1]!r}"
    if before and _PYTHON.match(text, len(before) - 1):
        return "it is Python's notation: write rows with json.dumps"
    return "fix or remove it"
