"""A copy of the working tree in which mutations are made and tests are run."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from entries import HERE, ROOT, Entry, Misfit
from warm_pytest import MODULES

#: Hypothesis draws the same examples each time, so that a mutant that was killed once is killed again.
OPTIONS = ("-q", "-p", "no:cacheprovider", "--hypothesis-seed=0")
#: A test that takes longer than this with a mutation hangs.
SECONDS = 1200
#: What pytest's report calls the end of a test that did not pass.
STATES = {"failure": "failed", "error": "error", "skipped": "skipped"}
#: A test that fails so was not failed by an assertion: the mutation is no code that runs.
BROKEN = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError", "UnboundLocalError")


@dataclass(frozen=True)
class Outcome:
    """What became of one test: ``passed``, ``failed``, ``skipped``, or ``error`` (outside the test itself).

    ``message``: of a failure, what pytest says of it.
    """

    state: str
    message: str = ""


class Copy:
    """A copy of the working tree under the package's name, which the tests in it import in its place.

    ``close`` stops the test that runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "gristmill"
        self.report = folder / "report.xml"
        self.said = folder / "said.txt"
        above = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        # No test compiles a module: it counts as current by its size and its second of change, which a
        # mutation may leave as they are. What the working tree has compiled is copied.
        env = os.environ | {"PYTHONPATH": os.pathsep.join(above), "PYTHONDONTWRITEBYTECODE": "1"}
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                for file in (ROOT / name, *compiled(ROOT / name)):
                    target = self.root / file.relative_to(ROOT)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, target)
        self.warm = False
        # A session of its own: Ctrl-C is for who closes the copy.
        self.pytest = subprocess.Popen(
            [sys.executable, HERE / "warm_pytest.py", *self._modules()], cwd=self.root, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def _modules(self) -> list[str]:
        """Those of MODULES that the tree imports somewhere."""
        imports = re.compile(r"^\s*(?:from|import) (\w+)", re.M)
        imported = {name for file in self.root.rglob("*.py") for name in imports.findall(file.read_text())}
        return [module for module in MODULES if module.partition(".")[0] in imported]

    def close(self) -> None:
        if not self.warm:  # there is no test to stop
            self.pytest.kill()
        self.pytest.communicate()

    def _run(self, asked: dict[str, Any]) -> int | None:
        """The exit code of pytest, or None where it was stopped."""
        assert self.pytest.stdin
        assert self.pytest.stdout
        self.warm = self.warm or bool(self.pytest.stdout.readline())
        if self.warm:
            print(json.dumps(asked), file=self.pytest.stdin, flush=True)
            if answer := self.pytest.stdout.readline():
                code: int | None = json.loads(answer)
                return code
        raise RuntimeError(f"warm_pytest.py ended with {self.pytest.wait()}")

    def outcomes(self, tests: Iterable[str]) -> Iterator[tuple[str, Outcome]]:
        """Run tests; each one's node id, parameters included, and its outcome.

        Raises Misfit where pytest ends without a report.
        """
        tests = list(tests)
        self.report.unlink(missing_ok=True)
        arguments = [*OPTIONS, f"--junitxml={self.report}", *tests]
        asked = {"arguments": arguments, "said": str(self.said), "seconds": SECONDS * len(tests)}
        ended = self._run(asked)
        if ended is None:
            raise Misfit(f"the test hangs: it was stopped after {asked['seconds']} s")
        if not self.report.exists():
            raise Misfit(
                f"pytest ended with {ended}: {self.said.read_text(errors='replace').strip()[-2000:]}"
            )
        for case in ElementTree.parse(self.report).iter("testcase"):
            outcome = Outcome("passed")
            for told in case:
                if told.tag in STATES:
                    outcome = Outcome(STATES[told.tag], told.get("message", ""))
            yield f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}", outcome

    def unfit(self, entries: list[Entry]) -> dict[str, str]:
        """Id -> why, of entries that do not fit: what they name is gone, or their test does not pass."""
        why: dict[str, str] = {}
        for entry in entries:
            try:
                entry.mutated(self.root)
            except Misfit as misfit:
                why[entry.id] = str(misfit)
        fitting = [entry for entry in entries if entry.id not in why]
        if not fitting:
            return why
        try:
            found = dict(self.outcomes(dict.fromkeys(entry.test for entry in fitting)))
        except Misfit as misfit:
            return why | {entry.id: f"unmutated, {misfit}" for entry in fitting}
        for entry in fitting:
            states = [outcome.state for name, outcome in found.items() if covers(entry.test, name)]
            if not states or set(states) != {"passed"}:
                why[entry.id] = f"unmutated, {entry.test} is {', '.join(sorted(set(states))) or 'not run'}"
        return why

    @contextmanager
    def _with_mutation(self, entry: Entry) -> Iterator[None]:
        path = self.root / entry.file
        text = entry.mutated(self.root)
        kept = {file: self.folder / f"kept-{file.name}" for file in (path, *compiled(path))}
        for file, aside in kept.items():
            shutil.copy2(file, aside)
            if file != path:
                file.unlink()
        path.write_text(text)
        try:
            yield
        finally:
            for file, aside in kept.items():
                aside.replace(file)

    def killed(self, entry: Entry) -> bool:
        """Does the test fail with the mutation? Raises Misfit where it fails, but by no assertion."""
        with self._with_mutation(entry):
            outcomes = [outcome for _, outcome in self.outcomes([entry.test])]
        failures = [outcome.message for outcome in outcomes if outcome.state == "failed"]
        for outcome in outcomes:
            if outcome.state == "error" or outcome.message.startswith(BROKEN):
                raise Misfit(
                    f"the code does not run with the mutation: {outcome.message.partition(chr(10))[0]}"
                )
        return bool(failures)


def compiled(path: Path) -> list[Path]:
    """What Python and pytest have compiled of a module."""
    return list((path.parent / "__pycache__").glob(f"{glob.escape(path.stem)}.*.pyc"))


def covers(test: str, name: str) -> bool:
    """Is ``name`` the node id of ``test``, or of it with parameters?"""
    return name == test or name.startswith(f"{test}[")
