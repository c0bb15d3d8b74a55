"""Handles Ctrl-C: the first stops the run cleanly, the second ends the process."""

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
    from ..run.budget import Stop

#: Seconds between two checks whether the run is stopping.
LOOK = 0.25
STOPPING = "stopping: committed results are kept (Ctrl-C again ends it at once)"
STOPPED = 130


@contextmanager
def stopping(stop: Stop) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) asks the run to stop and prints a message; the second ends the process at
    once.

    An operation that does not react (a call of native code, a source that waits for its pipe) is given at
    most the ``patience`` of ``stop``. Ending at once is safe, because only whole files are committed.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            os._exit(128 + number)
        stop.ask()
        # A system timer, since a thread would have to wait for the GIL.
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
    """Start a process that acknowledges Ctrl-C, since a Python handler has to wait while native code runs."""
    heard, told = os.pipe()
    os.set_blocking(told, False)
    file = Path(__file__).with_name("listener.py")
    listener = subprocess.Popen(
        [sys.executable, "-I", "-S", str(file), str(heard), str(os.getpid()), STOPPING],
        pass_fds=[heard],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # so that it does not get the terminal's Ctrl-C
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
    """Write a line without Python's buffers, which the signal may have interrupted."""
    try:
        os.write(2, f"\n{text}\n".encode(errors="replace"))
    except OSError:
        return  # nobody reads it anymore
