"""Counts the lines that a program executes, a measure of cost that is the same in every run."""

from __future__ import annotations

import _thread
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

from .genuine import Genuine, remember_loaded

_HERE = os.path.dirname(__file__)
_frame = sys._getframe
#: Audit events by which a program could reach the counter.
_REACHING = frozenset(
    (
        "sys.settrace", "sys.setprofile", "sys._getframe", "sys._current_frames", "sys._current_exceptions",
        "gc.get_objects", "gc.get_referrers", "gc.get_referents", "code.__new__", "marshal.loads",
        "sys.monitoring.register_callback", "object.__getattr__",
    )
)  # fmt: skip
_ELSEWHERE = frozenset(
    ("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "subprocess.Popen", "pty.spawn")
)
_SWITCHED_OFF = "the count of its executed lines was switched off"
_FRAMES = frozenset(("tb_frame", "gi_frame", "cr_frame", "ag_frame"))
#: Functions of the standard library that return frames to their caller.
_HANDING = frozenset(
    ("currentframe", "stack", "trace", "getouterframes", "getinnerframes", "walk_tb", "walk_stack")
)


class LineCount:
    """Counts every line that the program executes after ``start``, whatever file its code names.

    Lines of the standard library, of installed packages and of this package do not count, nor does the work
    of built-in functions. A loop on one line counts once per iteration. ``tests``: file name of code that
    does not count either, for tests that run in the same process.
    """

    def __init__(self, tests: str | None = None) -> None:
        self._tests = tests
        folders = [os.path.dirname(os.__file__), *(path for path in sys.path if path.endswith("-packages"))]
        remember_loaded()
        self._genuine = Genuine(folders)
        self._own = {
            id(vars(module)) for name, module in sys.modules.items() if name.partition(".")[0] == "sandbox"
        }
        self._lines = itertools.count()
        self._why: str | None = None
        self._trace = _tracer(self._lines, self._counts)
        self._tracing_now = sys.gettrace
        #: Whether this object itself causes the current audit events.
        self._busy = False

    def start(self) -> None:
        sys.addaudithook(self._heard)
        sys.gettrace = lambda: None
        threading.settrace(self._trace)
        self._watch_threads()
        self._busy = True
        sys.settrace(self._trace)
        self._busy = False

    def _watch_threads(self) -> None:
        start = _thread.start_new_thread

        def started(function: Any, *arguments: Any) -> int:
            if not self._counted_thread(function):
                self._why = self._why or "it starts a thread in which its lines are not counted"
            return start(function, *arguments)

        _thread.start_new_thread = _thread.start_new = started
        threading._start_new_thread = started  # type: ignore[attr-defined]

    def told(self) -> tuple[int, str | None]:
        """The number of lines so far, and the reason if that is not all of them."""
        if self._why is None and self._tracing_now() is not self._trace:
            self._why = (
                _SWITCHED_OFF  # the interpreter does so when the trace function reaches the recursion limit
            )
        return int(self._lines.__reduce__()[1][0]), self._why

    def _counts(self, frame: FrameType) -> bool:
        code = frame.f_code
        if code.co_filename.startswith(_HERE) and id(frame.f_globals) in self._own:
            return False
        return code.co_filename != self._tests and not self._genuine(code)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _ELSEWHERE:
            self._why = self._why or f"it runs code in another process ({event}), where lines are not counted"
        elif event in _REACHING or event.startswith("ctypes."):
            if self._busy or (event == "object.__getattr__" and arguments[1] not in _FRAMES):
                return
            self._busy = True
            try:
                if not self._of_the_library(event):
                    reached = f"it accesses the counter of its executed lines ({event})"
                    self._why = self._why or (_SWITCHED_OFF if event == "sys.settrace" else reached)
            finally:
                self._busy = False

    def _of_the_library(self, event: str) -> bool:
        """Whether the standard library does this for itself and not on behalf of the program."""
        frame: FrameType | None = _frame(2)
        while frame is not None:
            if self._counts(frame):
                return False
            library = "ctypes" in frame.f_code.co_filename if event.startswith("ctypes.") else False
            if not library and frame.f_code.co_name not in _HANDING:
                return event != "sys.settrace" or _tracing(frame.f_code, self._trace)
            frame = frame.f_back
        return True

    def _counted_thread(self, function: Any) -> bool:
        thread = getattr(function, "__self__", None)
        return (
            isinstance(thread, threading.Thread)
            and getattr(function, "__func__", None) is _BOOTSTRAP
            and type(thread)._bootstrap_inner is _BOOTSTRAP_INNER  # type: ignore[attr-defined]
            and threading._trace_hook is self._trace  # type: ignore[attr-defined]
        )


_BOOTSTRAP: Any = threading.Thread._bootstrap  # type: ignore[attr-defined]
_BOOTSTRAP_INNER: Any = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]


def _tracing(code: CodeType, trace: Any) -> bool:
    """Whether this is a new thread that enables its own counting."""
    return code is _BOOTSTRAP_INNER.__code__ and threading._trace_hook is trace  # type: ignore[attr-defined]


def _tracer(
    lines: Iterable[int], counts: Callable[[FrameType], bool]
) -> Callable[[FrameType, str, Any], Any]:
    add = iter(lines).__next__

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            add()
        return line

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return line if counts(frame) else None

    return enter
