"""One process of :mod:`.processes`: ``python -m gristmill.pipelines.run.training.process JOB FD``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ....contracts.errors import GristmillError
from ..budget import Interrupted
from .group import join
from .job import unpacked


class Reporter:
    """The connection to the process that started this one. Only the first process reports its progress."""

    def __init__(self, connection: Connection, first: bool) -> None:
        self._connection, self._first = connection, first
        self._asked = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, what: str, content: Any = None) -> None:
        self._connection.send((what, content))

    def on_progress(
        self, step: str, done: float, total: float, unit: str, figures: Mapping[str, float]
    ) -> None:
        if self._first:
            self.tell("progress", (done, total, unit, dict(figures)))

    def stopping(self) -> None:
        if self._asked.is_set():
            raise Interrupted("stopped on request")

    def _listen(self) -> None:
        try:
            while True:
                self._connection.recv()
                self._asked.set()
        except (EOFError, OSError):
            os._exit(1)  # nobody is left to train for


def train(job_file: Path, connection: Connection) -> int:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    report = Reporter(connection, first=rank == 0)
    try:
        job = unpacked(job_file.read_bytes())
        join(job.operator, rank, size, os.environ["GRISTMILL_MEETING"])
        trained = job.carry_out(report.on_progress, report.stopping)
    except Interrupted:
        report.tell("stopped")
        return 0
    except GristmillError as error:
        report.tell("failed", error)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    if rank == 0:
        report.tell("trained", trained)
    return 0


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one handles Ctrl-C
    code = train(Path(sys.argv[1]), Connection(int(sys.argv[2])))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # native threads must not keep the process alive


if __name__ == "__main__":
    main()
