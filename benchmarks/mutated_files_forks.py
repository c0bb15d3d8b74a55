"""Runs pipelines in concurrent forks of one warm process, and reports the outcome of each."""

from __future__ import annotations

import importlib
import os
import resource
import selectors
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from gristmill.pipelines.cli.main import main as gristmill

LIMIT_S = 60.0
MEMORY = 8 << 30
FATES = ("read", "refused", "unclear", "signal", "hang")
HARM = FATES[2:]
_OURS = ("gristmill", "pyarrow", "datasets", "pandas", "rich", "pydantic", "fsspec", "yaml", "jinja2")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command. ``said``: its standard error."""

    fate: str
    code: int
    said: str


def outcome(code: int | None, said: str, name: str) -> Outcome:
    """Return the outcome of a command: its exit code, negative for a signal, None if it was stopped."""
    lines = [line for line in said.splitlines() if line.strip()]
    if code is None:
        return Outcome("hang", 0, said)
    if code <= 0:
        return Outcome("signal" if code else "read", code, said)
    clear = code == 1 and len(lines) == 1 and name in said
    return Outcome("refused" if clear else "unclear", code, said)


def read_in_fork(folder: Path) -> int:
    """Plan and run ``FOLDER/t.yaml`` in a fork, with output to files there. Returns the process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.chdir(folder)
        _print_to("out", "planned")
        planned = gristmill(["plan", "t.yaml"])
        _print_to("out", "said")
        code = gristmill(["run", "t.yaml", "--run", "run", "--quiet", "--no-report"])
        code = code if planned in (0, 1) else planned
        Path("modules").write_text("\n".join(sys.modules))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 98
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _print_to(out: str, said: str) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for stream, name in ((1, out), (2, said)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)


def warm(folder: Path) -> None:
    """Import the modules that a run of ``FOLDER/t.yaml`` needs, so that no fork has to.

    Importing starts no threads.
    """
    os.waitpid(read_in_fork(folder), 0)
    for name in (folder / "modules").read_text().splitlines():
        if name.split(".")[0] in _OURS:
            importlib.import_module(name)


@dataclass
class Running:
    case: str
    name: str
    descriptor: int
    started: float


class Forks:
    """At most ``workers`` concurrent runs. ``keep``: where folders of harmful cases are put."""

    def __init__(self, folder: Path, workers: int, keep: Path | None) -> None:
        self.folder = folder
        self.workers = workers
        self.keep = keep
        self.outcomes: dict[str, Outcome] = {}
        self._running: dict[int, Running] = {}
        self._selector = selectors.DefaultSelector()

    def start(self, case: str, name: str) -> None:
        """Run ``FOLDER/CASE/t.yaml`` once a worker is free. ``name``: what a clear error must name."""
        while len(self._running) >= self.workers:
            self._wait()
        pid = read_in_fork(self.folder / case)
        running = Running(case, name, os.pidfd_open(pid), time.monotonic())
        self._selector.register(running.descriptor, selectors.EVENT_READ, pid)
        self._running[pid] = running

    def finish(self) -> None:
        while self._running:
            self._wait()

    def _wait(self) -> None:
        done = {key.data for key, _ in self._selector.select(1.0)}
        now = time.monotonic()
        late = {pid for pid, each in self._running.items() if now - each.started > LIMIT_S}
        for pid in done | late:
            self._end(pid, ended=pid in done)

    def _end(self, pid: int, ended: bool) -> None:
        running = self._running.pop(pid)
        self._selector.unregister(running.descriptor)
        os.close(running.descriptor)
        if not ended:
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        folder = self.folder / running.case
        said = (folder / "said").read_text(errors="replace") if (folder / "said").exists() else ""
        found = outcome(os.waitstatus_to_exitcode(status) if ended else None, said, running.name)
        self.outcomes[running.case] = found
        if found.fate in HARM:
            print(f"{running.case}: {found.fate} (exit code {found.code}): {said.strip()[:300]}", flush=True)
            if self.keep is not None:
                shutil.copytree(folder, self.keep / running.case, dirs_exist_ok=True)
        shutil.rmtree(folder)
