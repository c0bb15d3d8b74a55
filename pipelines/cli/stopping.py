"""Ctrl-C: the first asks the run to stop, the second ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..run.limits import Stop

#: Seconds between two looks at whether the run is stopping.
LOOK = 0.25
STOPPING = "stopping: what is committed is kept (Ctrl-C again ends it at once)"
STOPPED = 130


@contextmanager
def stopping(stop: Stop) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) asks the run to stop, and says so; the second ends the process at once.

    Work that does not listen (one call of native code, a source that waits for its pipe) is not waited for longer than
    ``stop`` has patience. Ending at once is safe, because nothing but whole files is ever committed.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            os._exit(128 + number)
        stop.ask()
        # A timer of the system's: a thread would have to wait for what holds the interpreter.
        signal.setitimer(signal.ITIMER_REAL, LOOK, LOOK)

    def look(number: int, frame: FrameType | None) -> None:
        if stop.overdue:
            _say(stop.farewell)
            os._exit(STOPPED)

    handlers = {signal.SIGINT: ask, signal.SIGTERM: ask, signal.SIGALRM: look}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with _listening():
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _listening() -> Iterator[None]:
    """A process that says that Ctrl-C was heard: a handler in Python runs only once whatever holds the interpreter lets go."""
    heard, told = os.pipe()
    os.set_blocking(told, False)
    file = Path(__file__).with_name("listener.py")
    listener = subprocess.Popen(
        [sys.executable, "-I", "-S", str(file), str(heard), str(os.getpid()), STOPPING],
        pass_fds=[heard],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # the terminal's Ctrl-C is not for it
    )
    os.close(heard)
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(told)
        listener.wait()


def _say(text: str) -> None:
    """Write a line past the buffers, which the handler may have interrupted."""
    try:
        os.write(2, f"\n{text}\n".encode(errors="replace"))
    except OSError:
        return  # nobody reads it any more
