"""What stands before the standard streams and the log: no secret and no foreign control sequence passes.

What Gristmill writes is clean already (see :mod:`.printable`). This is for what libraries and users' functions
write past it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from .printable import printable, shown
from .secrets import scrub

#: What the live view and progress bars draw with: colors, moves of the cursor, what is erased.
_DRAWING = re.compile(r"\x1b\[\??[0-9;]*[A-HJKSTfhlmsu]|\r")


class Guarded:
    """A text stream whose text loses its secrets and control sequences; a terminal keeps those that draw."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = stream.isatty()

    def write(self, text: str) -> int:
        text = scrub(text)
        start = 0
        for found in _DRAWING.finditer(text) if self._drawn else ():
            self._stream.write(printable(text[start : found.start()]) + found[0])
            start = found.end()
        self._stream.write(printable(text[start:]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Guard both streams of this process for as long as the block runs."""
    out, error = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Guarded(out), Guarded(error)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, error


def guard_worker() -> None:
    """Guard the streams and the log of a process that works for a run, to its end. Twice is once."""
    if not isinstance(sys.stdout, Guarded):
        sys.stdout, sys.stderr = Guarded(sys.stdout), Guarded(sys.stderr)
    guard_log()


def guard_log() -> None:
    """Let every log record of this process be clean from now on, whoever makes and keeps it. Twice is once."""
    made = logging.getLogRecordFactory()
    if getattr(made, "is_guarded", False):
        return

    def clean(*args: Any, **options: Any) -> logging.LogRecord:
        record = made(*args, **options)
        try:
            said = record.getMessage()
        except Exception:  # a record whose arguments do not fit is told of by logging itself
            return record
        if said != (safe := shown(said)):
            record.msg, record.args = safe, ()
        if record.exc_info and record.exc_info[0] is not None:
            # A handler uses the text that is there, and makes none of its own.
            record.exc_text = shown(logging.Formatter().formatException(record.exc_info))
        return record

    clean.is_guarded = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(clean)
