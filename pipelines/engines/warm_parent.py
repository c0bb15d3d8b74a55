"""A process that has imported what a kind of engine imports, and forks the processes of engines.

``python -m gristmill.pipelines.engines.warm_parent FD KIND``: :mod:`.warm` sends it requests.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

#: Maximum bytes of a request.
REQUEST = 65536
_PR_SET_PDEATHSIG = 1


class WarmParent:
    """Forks a process for each request, and reports its end to who asked.

    A request is the folder to run in, with three descriptors: the connection to the engine, its output, and
    a pipe, into which a line with the number of the process is written, and one with its exit code.
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
        asked: list[socket.socket | int] = [self._control, self._ended]
        while len(asked) > 1 or self._reports:
            ready, _, _ = select.select(asked, [], [])
            if self._ended in ready:
                with suppress(BlockingIOError):
                    os.read(self._ended, REQUEST)
                self._report()
            if self._control in ready and not self._answer():
                asked.remove(self._control)

    def _answer(self) -> bool:
        """Answer a request, if there is one: nobody can ask any more if there is none."""
        folder, descriptors, _, _ = socket.recv_fds(self._control, REQUEST, 3)
        if not folder:
            return False
        connection, output, report = descriptors
        process = os.fork()
        if not process:
            self._run(os.fsdecode(folder), connection, output)
        os.close(connection)
        os.close(output)
        self._reports[process] = report
        os.write(report, b"%d\n" % process)
        return True

    def _report(self) -> None:
        for process in list(self._reports):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                report = self._reports.pop(process)
                with suppress(BrokenPipeError):
                    os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
                os.close(report)

    def _run(self, folder: str, connection: int, output: int) -> NoReturn:
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
            os.chdir(folder)
            from .child import run

            run(connection)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with suppress(Exception):  # the engine says what is missing
        importlib.import_module(f".{sys.argv[2]}", __package__).preload()
    WarmParent(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
