"""A warm process that forks a run for each line of JSON that it reads.

Starting a run then takes milliseconds, so that hundreds can be killed; see ``killing.Forks``. It answers each
line with the process id of the run, and with the exit code when the run has ended.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import traceback
from typing import Any

import duckdb  # noqa: F401
import pandas  # noqa: F401
import pyarrow.compute
import pyarrow.parquet  # noqa: F401

import gristmill
import gristmill.pipelines.api
import gristmill.pipelines.engines.synthetic as synthetic
from gristmill.contracts import registry
from gristmill.contracts.errors import GristmillError
from gristmill.pipelines.view.silent import SilentView

#: The exit code of an internal error.
INTERNAL = 70

for verb, value in (
    ("source", "jsonl"), ("generate", "respond"), ("score", "length"), ("compute", ""), ("verify", "tests"),
    ("keep", ""), ("dedup", "exact"), ("select", "random"), ("export", "parquet"), ("export", "jsonl"),
):  # fmt: skip
    registry.find(verb, value)


def child(asked: dict[str, Any]) -> int:
    synthetic.APART = asked["apart"]
    try:
        gristmill.run(
            asked["file"],
            asked["directory"],
            executor="ray" if asked["address"] else "local",
            ray_address=asked["address"] or None,
            retry_failed=asked["retry_failed"],
            observer=SilentView(io.StringIO()),
        )
    except GristmillError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return INTERNAL
    return 0


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(child(json.loads(line)))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
