"""Counts the lines that a program executes: a cost that is the same in every run, unlike seconds."""

from __future__ import annotations

import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from .unit_tests import TESTS


class LineCount:
    """Within ``with``, every line that code without a file of its own executes, the tests' lines apart.

    That is the program, and what it makes with ``exec``. A loop on one line counts each time round; what runs
    inside built-in and imported functions (a sort, say) is not counted. ``complete``: the count was not
    switched off on the way, as a program can do and as happens at the recursion limit.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.complete = False

    def __enter__(self) -> LineCount:
        threading.settrace(self._enter)
        sys.settrace(self._enter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.complete = sys.gettrace() == self._enter
        sys.settrace(None)
        threading.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith("<") or name == TESTS or name.startswith("<frozen"):
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines += 1
        return self._line
