"""Fills paragraphs to a width so that they read, and are Markdown, as they were before."""

from __future__ import annotations

import re
import textwrap

#: A space at which no line may end: within code, and before what Markdown takes for the mark of a list, a
#: heading or a quotation where it begins a line.
_TIED = "\x00"
_CODE = re.compile(r"`[^`]*`")
_MARK = re.compile(r" (?=(?:[-+*>=]|#+|\d+[.)])(?: |$))")


def filled(text: str, width: int, first: str = "", further: str = "") -> str:
    """The text in lines of at most ``width`` characters; a longer piece of code stays whole.

    ``first`` and ``further``: what the first line and the further ones begin with.
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
