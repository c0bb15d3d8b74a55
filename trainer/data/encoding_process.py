"""One process of :mod:`.encoding_processes`: ``python -m gristmill.trainer.data.encoding_process SOCKET``.

It ends when the socket closes.
"""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection

import pyarrow as pa

from .encoding_processes import EncodedBatch, EncodingJob


def answer(connection: Connection) -> None:
    """Encode tables of rows until the other side closes the connection."""
    try:
        encoder = EncodingJob.unpacked(connection.recv_bytes())
        while True:
            table = pa.ipc.open_stream(connection.recv_bytes()).read_all()
            try:
                found: EncodedBatch | Exception = EncodedBatch.of(table, encoder)
            except Exception as error:
                found = error
            connection.send(found)
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one handles Ctrl-C
    answer(Connection(int(sys.argv[1])))
