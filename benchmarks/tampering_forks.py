"""Runs commands in forks of a warm process."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
import warm_modules

NOBODY = 65534
SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """How a command ended. ``code``: its exit code, negative a signal."""

    code: int
    text: str


class Warm:
    """Runs command lines in forks of this process, which has imported the necessary modules."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def learn(self, *arguments: object, cwd: Path) -> None:
        """Run a command, and import the modules that it imported."""
        ended = self.run(*arguments, cwd=cwd, tell_modules=True)
        if ended.code:
            raise SystemExit(f"{arguments[0]} on the run to damage: {ended.text}")
        warm_modules.load(self.scratch / "modules")

    def run(self, *arguments: object, cwd: Path, nobody: bool = False, tell_modules: bool = False) -> Ended:
        """Run ``gristmill ARGUMENTS``; SIGALRM ends a command after one minute."""
        from gristmill.pipelines.cli.main import main

        output = self.scratch / "output"
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
                os.dup2(target, 1)
                os.dup2(target, 2)
                os.chdir(cwd)
                if nobody:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                signal.alarm(SECONDS * (10 if tell_modules else 1))
                code = main([str(each) for each in arguments])
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 2
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                if tell_modules:
                    warm_modules.tell(self.scratch / "modules")
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        return Ended(os.waitstatus_to_exitcode(status), output.read_text(errors="replace"))
