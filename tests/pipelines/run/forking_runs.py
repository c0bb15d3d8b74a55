"""A process that has imported everything and forks a run for each line that it reads: ``FILE\tDIR\tADDRESS``.

Starting a run then takes milliseconds, so that a hundred of them can be killed. It answers each
line with the run's process id; the run's exit code is the child's own.
"""

from __future__ import annotations

import io
import os
import signal
import sys

import duckdb  # noqa: F401
import pandas  # noqa: F401
import pyarrow.compute
import pyarrow.parquet  # noqa: F401

import gristmill
import gristmill.datagen.engines.synthetic
import gristmill.pipelines.api
from gristmill.pipelines import registry
from gristmill.pipelines.errors import GristmillError
from gristmill.pipelines.view.silent import SilentView

for verb, value in {
    "source": "jsonl", "generate": "respond", "score": "length", "keep": "", "dedup": "exact", "select": "random",
    "export": "parquet",
}.items():  # fmt: skip
    registry.find(verb, value)


def child(file: str, directory: str, address: str) -> int:
    try:
        gristmill.run(
            file,
            directory,
            executor="ray" if address else "local",
            ray_address=address or None,
            observer=SilentView(io.StringIO()),
        )
    except GristmillError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for line in sys.stdin:
        file, directory, address = line.rstrip("\n").split("\t")
        pid = os.fork()
        if pid == 0:
            os._exit(child(file, directory, address))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
