"""A warm process that forks a run for each line of JSON that it reads.

Starting a run then takes milliseconds, so that hundreds can be killed; see ``killing.Forks``. It answers each
line with the process id of the run, and with the exit code when the run has ended. The first run that ends
well takes longer: it lists beside its directory what it imported, and the others have that from the start.
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import gristmill
import gristmill.pipelines.api
import gristmill.pipelines.engines.synthetic as synthetic
from gristmill.contracts.errors import GristmillError
from gristmill.pipelines.view.silent import SilentView

sys.path.append(str(Path(__file__).parent))
import warm_modules

#: The exit code of an internal error.
INTERNAL = 70


def child(asked: dict[str, Any]) -> int:
    gc.freeze()  # a run collects garbage when it closes an engine, and need not go through all modules
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
    warm = False
    for line in sys.stdin:
        asked = json.loads(line)
        imported = Path(asked["directory"]).with_name("imported")
        pid = os.fork()
        if pid == 0:
            code = child(asked)
            if code == 0 and not warm:
                warm_modules.tell(imported)
            os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0 and not warm:
            warm_modules.load(imported)
            warm = True
        print(code, flush=True)


if __name__ == "__main__":
    main()
