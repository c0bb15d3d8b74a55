"""Text that a terminal, a log or a page may show: control sequences are written out, never obeyed.

Part of the ground floor.
"""

from __future__ import annotations

import json
import re

from .secrets import scrub

#: Control characters but line feed and tab (C0, delete, C1); line separators and what reverses the direction of
#: text; invisible marks and tags; and surrogates without a partner, which no encoding can write.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """``text`` with every control character but line feed and tab as JSON escapes it: ``\\u001b[31m``.

    JSON stays JSON of the same value, and the text of a page stays what it says.
    """
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text.replace("\r\n", "\n"))


def shown(text: str) -> str:
    """``text`` as a person may see it: without secrets and without control sequences."""
    return printable(scrub(text))
