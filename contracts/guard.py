"""Filters the standard streams and the log: secrets and control sequences are removed.

Gristmill's own output is clean already (see :mod:`.printable`). This covers the output of libraries and
users' functions.
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

#: Sequences that the live view and progress bars draw with: colors, cursor movement, erasing.
_DRAWING = re.compile(r"\x1b\[\??[0-9;]*[A-HJKSTfhlmsu]|\r")


class Guarded:
    """A text stream that removes secrets and control sequences; on a terminal, drawing sequences are kept."""

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
    """Guard both streams of this process while the block runs."""
    out, error = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Guarded(out), Guarded(error)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, error


def guard_worker() -> None:
    """Guard the streams and the log of a worker process until it ends. Idempotent."""
    if not isinstance(sys.stdout, Guarded):
        sys.stdout, sys.stderr = Guarded(sys.stdout), Guarded(sys.stderr)
    guard_log()


def guard_log() -> None:
    """Clean every log record of this process from now on, whatever its logger and handlers. Idempotent."""
    made = logging.getLogRecordFactory()
    if getattr(made, "is_guarded", False):
        return

    def clean(*args: Any, **options: Any) -> logging.LogRecord:
        record = made(*args, **options)
        try:
            said = record.getMessage()
        except Exception:  # logging itself reports a record whose arguments do not fit
            return record
        if said != (safe := shown(said)):
            record.msg, record.args = safe, ()
        if record.exc_info and record.exc_info[0] is not None:
            # Handlers use this text and do not format the exception again.
            record.exc_text = shown(logging.Formatter().formatException(record.exc_info))
        return record

    clean.is_guarded = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(clean)
