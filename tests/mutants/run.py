"""Apply each mutation to a copy of the tree and see that its test fails.

``python tests/mutants/run.py [ID-PREFIX]``: those whose id begins so.

The working tree is never written to. Exits with 1 where a mutation survives or an entry does not fit.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from entries import ROOT, Entry, Misfit, read_entries

PYTEST = Path(sys.executable).with_name("pytest")
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
    """A copy of the working tree under the package's name, which the tests in it import in its place."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "gristmill"
        self.report = folder / "report.xml"
        above = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Without cached modules: one counts as current by its size and its second of change, which a mutation
        # may leave as they are.
        self.env = os.environ | {"PYTHONPATH": os.pathsep.join(above), "PYTHONDONTWRITEBYTECODE": "1"}
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)

    def outcomes(self, tests: Iterable[str]) -> Iterator[tuple[str, Outcome]]:
        """Run tests; each one's node id, parameters included, and its outcome.

        Raises Misfit where pytest ends without a report.
        """
        self.report.unlink(missing_ok=True)
        command = [PYTEST, *OPTIONS, f"--junitxml={self.report}", *tests]
        with subprocess.Popen(
            command, cwd=self.root, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=SECONDS)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise Misfit(f"the test hangs: it was stopped after {SECONDS} s") from None
                raise
        if not self.report.exists():
            raise Misfit(f"pytest ended with {process.returncode}: {said.strip()[-2000:]}")
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
        found = dict(self.outcomes(dict.fromkeys(entry.test for entry in fitting)))
        for entry in fitting:
            states = [outcome.state for name, outcome in found.items() if covers(entry.test, name)]
            if not states or set(states) != {"passed"}:
                why[entry.id] = f"unmutated, {entry.test} is {', '.join(sorted(set(states))) or 'not run'}"
        return why

    def killed(self, entry: Entry) -> bool:
        """Does the test fail with the mutation? Raises Misfit where it fails, but by no assertion."""
        path = self.root / entry.file
        whole = path.read_bytes()
        path.write_text(entry.mutated(self.root))
        try:
            outcomes = [outcome for _, outcome in self.outcomes([entry.test])]
        finally:
            path.write_bytes(whole)
        failures = [outcome.message for outcome in outcomes if outcome.state == "failed"]
        for outcome in outcomes:
            if outcome.state == "error" or outcome.message.startswith(BROKEN):
                raise Misfit(
                    f"the code does not run with the mutation: {outcome.message.partition(chr(10))[0]}"
                )
        return bool(failures)


def covers(test: str, name: str) -> bool:
    """Is ``name`` the node id of ``test``, or of it with parameters?"""
    return name == test or name.startswith(f"{test}[")


def main(prefix: str = "") -> int:
    entries = [entry for entry in read_entries() if entry.id.startswith(prefix)]
    if not entries:
        print(f"no mutant's id begins with {prefix!r}", file=sys.stderr)
        return 2
    wrong = 0
    with TemporaryDirectory(prefix="mutants-") as folder:
        copy = Copy(Path(folder))
        unfit = copy.unfit(entries)
        for entry in entries:
            started = time.monotonic()
            try:
                if entry.id in unfit:
                    raise Misfit(unfit[entry.id])
                killed = copy.killed(entry)
            except Misfit as misfit:
                wrong += 1
                print(f"DOES NOT FIT  {entry.id}: {misfit}", flush=True)
                continue
            wrong += not killed
            text = "killed       " if killed else "SURVIVED     "
            print(f"{text} {entry.id}: {entry.test} ({time.monotonic() - started:.1f} s)", flush=True)
    print(f"{len(entries)} mutants, {wrong} of them survived or do not fit")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
