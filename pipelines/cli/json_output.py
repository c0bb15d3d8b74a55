"""Standard output for programs: one JSON object per line, and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ...contracts.guard import Guarded


@contextmanager
def events_alone(wanted: bool) -> Iterator[TextIO | None]:
    """Give a stream to standard output, to which nothing else writes while the block runs, if ``wanted``.

    What other code prints goes to standard error: libraries, users' functions, and native code of Ray, which
    tells of a lost node. Gives None, and changes nothing, if not wanted.
    """
    if not wanted:
        yield None
        return
    sys.stdout.flush()
    outer = sys.stdout
    try:
        number = outer.fileno()
    except OSError:  # a stream without a file, as in a notebook
        sys.stdout = sys.stderr
        try:
            yield outer
        finally:
            sys.stdout = outer
        return
    kept = os.dup(number)
    os.dup2(sys.stderr.fileno(), number)
    stream = os.fdopen(kept, "w", encoding="utf-8")
    try:
        yield Guarded(stream)  # type: ignore[misc]  # a stream to everyone who writes to it
    finally:
        sys.stdout.flush()
        stream.flush()
        os.dup2(kept, number)
        stream.close()
