"""Text that is safe to show in a terminal, a log or a page: control characters are escaped.

Part of the contracts.
"""

from __future__ import annotations

import json
import re

from .secrets import scrub

#: Control characters except line feed and tab (C0, delete, C1); line separators and characters that reverse
#: the direction of text; invisible marks and tags; and lone surrogates, which no encoding can write.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """``text`` with every control character except line feed and tab escaped as in JSON: ``\\u001b[31m``.

    JSON text keeps its value, and the text of a page keeps its meaning.
    """
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text.replace("\r\n", "\n"))


def shown(text: str) -> str:
    """``text`` without secrets and control sequences, safe to show."""
    return printable(scrub(text))
