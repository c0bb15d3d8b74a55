"""Wraps paragraphs to a width without changing their meaning as Markdown."""

from __future__ import annotations

import re
import textwrap

#: Spaces at which no line may break: within code, and before characters that would start a list, a heading or
#: a quotation at the beginning of a line.
_TIED = "\x00"
_CODE = re.compile(r"`[^`]*`")
_MARK = re.compile(r" (?=(?:[-+*>=]|#+|\d+[.)])(?: |$))")


def filled(text: str, width: int, first: str = "", further: str = "") -> str:
    """The text in lines of at most ``width`` characters; longer code is not split.

    ``first`` and ``further``: the prefixes of the first line and of the other lines.
    """
    tied = _MARK.sub(_TIED, _CODE.sub(lambda code: code[0].replace(" ", _TIED), text))
    lines = textwrap.fill(
        tied,
        width,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(_TIED, " ")
