"""Killing runs or single processes of runs, and reading what they leave."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

#: The processes of a run. Those of a sandbox are nested, from its launcher down.
RUN, ENGINE = "the whole run", "the engine's process"
SANDBOX = ("sandbox launcher", "sandbox zygote", "sandbox judge", "sandbox program")
#: Marks in the command lines of a sandbox's launcher and of an engine in a separate process.
_LAUNCHER, _ENGINE = "from sandbox.zygote import main", "gristmill.pipelines.engines.child"
#: Forks the engines' processes.
_WARM = "gristmill.pipelines.engines.warm_parent"


class Forks:
    """Starts runs from one warm process in milliseconds, one at a time."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("forking_runs.py")
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (it lives as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "RAY_DISABLE_IMPORT_WARNING": "1"},
        )

    def start(
        self,
        file: Path,
        directory: Path,
        *,
        address: str = "",
        retry_failed: bool = False,
        apart: bool = False,
    ) -> int:
        """Start a run; return its process id. ``apart``: also run an engine without weights in a separate
        process."""
        asked = {
            "file": str(file),
            "directory": str(directory),
            "address": address,
            "retry_failed": retry_failed,
            "apart": apart,
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._number()

    def ended(self) -> int:
        """Wait for the started run; return its exit code."""
        return self._number()

    def run(
        self, file: Path, directory: Path, address: str = "", kill_after: float | None = None
    ) -> tuple[int, float]:
        """Return (exit code, seconds). ``kill_after``: seconds after which the run gets SIGKILL."""
        started = time.monotonic()
        pid = self.start(file, directory, address=address)
        timer = None
        if kill_after is not None:
            timer = threading.Timer(kill_after, os.kill, (pid, signal.SIGKILL))
            timer.start()
        code = self.ended()
        if timer is not None:
            timer.cancel()
        return code, time.monotonic() - started

    def said(self) -> str:
        """Return the last lines of the standard error of the runs."""
        self._said.seek(0)
        return "\n".join(self._said.read().splitlines()[-20:])

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._said.close()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


def parts(run: Path) -> dict[str, bytes]:
    """Return every committed part and exported file by its path in the run."""
    files = [
        *run.glob("steps/*/part-*.parquet"),
        *(path for path in run.glob("exports/**/*") if path.is_file()),
    ]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def living(run: int) -> dict[str, list[psutil.Process]]:
    """Return the live processes of a run by kind."""
    try:
        root = psutil.Process(run)
        found: dict[str, list[psutil.Process]] = {RUN: [root]}
        for each in root.children():
            command = " ".join(each.cmdline())
            if _ENGINE in command:
                found.setdefault(ENGINE, []).append(each)
            elif _WARM in command and (engines := each.children()):
                found.setdefault(ENGINE, []).extend(engines)
            elif _LAUNCHER in command:
                _descend(each, 0, found)
    except psutil.NoSuchProcess:
        return {}
    return found


def _descend(process: psutil.Process, depth: int, found: dict[str, list[psutil.Process]]) -> None:
    found.setdefault(SANDBOX[min(depth, len(SANDBOX) - 1)], []).append(process)
    try:
        for each in process.children():
            _descend(each, depth + 1, found)
    except psutil.NoSuchProcess:
        return


class Killer(threading.Thread):
    """SIGKILLs processes of one run at random times, until it has ended or ``most`` were killed.

    It targets the kind with the fewest entries in ``killed``, or another kind if there is none of it in
    ``TRIES`` attempts. ``pause``: the mean time between attempts in seconds. ``hits``: the killed kinds, in
    order.
    """

    TRIES = 4

    def __init__(
        self, run: int, instants: random.Random, pause: float, most: int, killed: Mapping[str, int]
    ) -> None:
        super().__init__(daemon=True)
        self._run, self._instants, self._pause, self._most = run, instants, pause, most
        self._killed = killed
        self._over = threading.Event()
        self.hits: list[str] = []

    def run(self) -> None:
        tries = 0
        while len(self.hits) < self._most and not self._over.wait(self._instants.uniform(0, 2 * self._pause)):
            found = living(self._run)
            if not found:
                return
            tries += 1
            wanted = self._rarest((RUN, ENGINE, *SANDBOX))
            if wanted not in found and tries < self.TRIES:
                continue
            kind, tries = self._rarest(sorted(found)), 0
            try:
                self._instants.choice(found[kind]).kill()
            except psutil.NoSuchProcess:
                continue
            self.hits.append(kind)
            if kind == RUN:
                return

    def _rarest(self, kinds: Sequence[str]) -> str:
        return min(
            kinds,
            key=lambda kind: (self._killed.get(kind, 0) + self.hits.count(kind), self._instants.random()),
        )

    def stop(self) -> list[str]:
        """Stop killing; return what was killed."""
        self._over.set()
        self.join()
        return self.hits
