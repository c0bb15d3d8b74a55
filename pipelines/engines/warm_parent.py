"""A process that has imported what a kind of engine imports, and forks the processes of engines.

``python -m gristmill.pipelines.engines.warm_parent FD KIND``: :mod:`.warm` sends it requests.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

from .child import run

#: Maximum bytes of a request.
REQUEST = 65536
_PR_SET_PDEATHSIG = 1


class WarmParent:
    """Forks a process for each request, and reports its end to who asked.

    A request has four descriptors: the connection to the engine, its output, its folder, and a pipe. Into the
    pipe goes a line with the number of the process (0 if there is none), and one with its exit code.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._reports: dict[int, int] = {}
        self._ended, wake = os.pipe()
        for end in (self._ended, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Serve until nobody can ask any more and all processes have ended."""
        asked = selectors.DefaultSelector()
        asked.register(self._control, selectors.EVENT_READ)
        asked.register(self._ended, selectors.EVENT_READ)
        while len(asked.get_map()) > 1 or self._reports:
            ready = [key.fileobj for key, _ in asked.select()]
            if self._ended in ready:
                with suppress(BlockingIOError):
                    os.read(self._ended, REQUEST)
                self._report()
            if self._control in ready and not self._answer():
                asked.unregister(self._control)

    def _answer(self) -> bool:
        """Answer a request, if there is one: nobody can ask any more if there is none."""
        message, descriptors, _, _ = socket.recv_fds(self._control, REQUEST, 4)
        if not message:
            return False
        process = 0
        # What fails here costs the one who asked, and none of the engines that run.
        with suppress(OSError, ValueError):
            connection, output, folder, report = descriptors
            process = os.fork()
            if not process:
                self._run(connection, output, folder)
            self._reports[process] = report
        if descriptors:
            with suppress(OSError):  # nobody waits any more
                os.write(descriptors[-1], b"%d\n" % process)
        for descriptor in descriptors[:3] if process else descriptors:
            os.close(descriptor)
        return True

    def _report(self) -> None:
        for process in list(self._reports):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                report = self._reports.pop(process)
                with suppress(BrokenPipeError):
                    os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
                os.close(report)

    def _run(self, connection: int, output: int, folder: int) -> NoReturn:
        """Be the process of an engine."""
        try:
            # It would outlive this process otherwise, and nobody could report its end.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            for report in self._reports.values():
                os.close(report)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.fchdir(folder)
            run(connection)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    engine = importlib.import_module(f".{sys.argv[2]}", __package__)
    if hasattr(engine, "preload"):
        engine.preload()
    WarmParent(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
