"""The child process of ``limited_processes``: it answers one question after the other with one function.

Usage: ``python -m gristmill.datagen.execution.limited_child SOCKET MODULE FUNCTION MEMORY SECONDS``. Messages
are JSON. The process ends when its parent closes the socket, or when a question exceeds a limit.
"""

from __future__ import annotations

import importlib
import json
import math
import resource
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

#: Bytes beyond the limit, for the interpreter and the modules.
BESIDES = 256 << 20


def main(socket: int, module: str, function: str, memory: int, seconds: int) -> None:
    """Answer questions until the parent closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    connection = Connection(socket)
    answer = getattr(importlib.import_module(module), function)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory + BESIDES, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    connection.send_bytes(b"{}")
    while True:
        try:
            question = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        _allow(seconds)
        told: dict[str, Any]
        try:
            told = {"answer": answer(**question)}
        except MemoryError:
            told = {"memory": True}
        except RecursionError:
            told = {"deep": True}
        connection.send_bytes(json.dumps(told).encode())


def _allow(seconds: int) -> None:
    """Allow that much more processor time; beyond it the system ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
