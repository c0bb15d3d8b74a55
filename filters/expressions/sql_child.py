"""The child process that evaluates expressions: it holds one table at a time and answers queries about it.

Usage: ``python -m gristmill.filters.expressions.sql_child SOCKET GIVEN MADE``, with three file descriptors.
Messages are JSON. Tables are Arrow streams in the files behind ``GIVEN`` and ``MADE``. The process ends when
its parent closes the socket.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from .sql_nan import DEFINITION
from .sql_tree import TABLE, locked_database

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Bytes beyond DuckDB's own limit, for the interpreter and for what DuckDB does not count.
BESIDES = 512 << 20


def main(socket: int, given: int, made: int) -> None:
    """Answer queries until the parent closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    connection = Connection(socket)
    database: DuckDBPyConnection | None = None
    held = -1
    while True:
        try:
            asked = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            if "memory" in asked:
                if database is None or held != asked["memory"]:
                    held = asked["memory"]
                    _limit(held)
                    database = locked_database(held)
                    database.execute(DEFINITION)
                database.register(TABLE, _table(given))
                told: dict[str, Any] = {}
            else:
                assert database is not None
                told = _answer(database, asked["query"], asked["most"], made)
        except (MemoryError, duckdb.OutOfMemoryException):
            told = {"memory": True}
        except (duckdb.Error, pa.ArrowException, NotImplementedError, ValueError) as error:
            told = {"error": str(error).strip().splitlines()[0]}
        connection.send_bytes(json.dumps(told).encode())


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory + BESIDES, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _table(given: int) -> pa.Table:
    """Read the parent's table through a memory map, which costs no memory of this process."""
    held = mmap.mmap(given, os.fstat(given).st_size, prot=mmap.PROT_READ)
    return pa.ipc.open_stream(pa.py_buffer(held)).read_all()


def _answer(database: DuckDBPyConnection, query: str, most: int, made: int) -> dict[str, Any]:
    """Run the query and write its result. ``most``: the maximum size of the result in bytes."""
    relation = database.sql(query)
    table = relation.to_arrow_table()
    if table.nbytes > most:
        return {"large": table.nbytes}
    os.ftruncate(made, 0)
    os.lseek(made, 0, os.SEEK_SET)
    with os.fdopen(made, "wb", closefd=False) as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return {"types": [str(kind) for kind in relation.types]}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
