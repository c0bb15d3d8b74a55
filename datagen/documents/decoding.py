"""The text of a file's bytes, whatever its encoding."""

from __future__ import annotations

import codecs
import re

from .structure import Unreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
#: Where a page declares its encoding, and where NULs tell UTF-16.
_HEAD = 4096
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
#: Share of control characters beyond which bytes are not a text.
_BINARY = 0.01


def decoded(data: bytes, *, declares: bool = False) -> str:
    """The text, with ``\\n`` at the ends of lines. ``declares``: HTML, which may name its encoding.

    A mark at the beginning decides, then NULs (UTF-16), the declaration, and whether the bytes are valid
    UTF-8. What is left is Windows-1252, which contains Latin-1. Raises Unreadable if it is no text.
    """
    text = _decoded(data, declares)
    if len(_CONTROLS.findall(text)) > _BINARY * len(text):
        raise Unreadable("it is not a text: it has control characters, like a binary file")
    text = _CONTROLS.sub("", text.removeprefix("\ufeff"))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(data: bytes, declares: bool) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    for name in [*_utf16(data), *_declared(data, declares), "utf-8"]:
        try:
            return data.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _declared(data: bytes, declares: bool) -> list[str]:
    found = _DECLARED.search(data[:_HEAD]) if declares else None
    return [found[1].decode("ascii", "replace")] if found is not None else []


def _utf16(data: bytes) -> list[str]:
    """UTF-16 without a mark, told by the NULs in every other byte of Latin text."""
    head = data[:_HEAD]
    return [
        name
        for name, high in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2]))
        if high.count(0) > 0.4 * len(high)
    ]
