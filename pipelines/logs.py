"""Log records without secrets and control sequences, whichever library writes them and whoever keeps them."""

from __future__ import annotations

import logging
from typing import Any

from .printable import shown


def guard() -> None:
    """Let every record that is made in this process from now on be clean. Twice is once."""
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
