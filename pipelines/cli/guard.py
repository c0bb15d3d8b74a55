"""What stands before standard output and error while a command runs: no secret and no foreign control sequence passes.

What a command prints is clean already (see :mod:`..printable`). This is for what libraries print past it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from ..printable import printable
from ..secrets import scrub

#: What the live view and progress bars draw with: colors, moves of the cursor, what is erased.
_DRAWING = re.compile(r"\x1b\[\??[0-9;]*[A-HJKSTfhlmsu]|\r")


class Guarded:
    """A text stream whose text loses its secrets and control sequences; a terminal keeps those that draw."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = stream.isatty()

    def write(self, text: str) -> int:
        text = scrub(text)
        if not self._drawn:
            self._stream.write(printable(text))
            return len(text)
        start = 0
        for found in _DRAWING.finditer(text):
            self._stream.write(printable(text[start : found.start()]) + found[0])
            start = found.end()
        self._stream.write(printable(text[start:]))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Guard both streams of this process for as long as the block runs."""
    out, error = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Guarded(out), Guarded(error)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, error
