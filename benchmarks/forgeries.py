"""Reads the forgeries of ``forged_cases``, and runs them and their controls.

Each file is a family, named on its first line. A case begins with ``=== name [flags]`` and has the sections
``--- program`` (a wrong program), ``--- tests`` (or ``--- reference``) and ``--- right`` (a correct program).
Missing sections have the defaults below. A line ``@name`` stands for the text below ``=== @name`` in the same
file.

Flags: ``doctests``, ``reference`` or ``cost`` replace the tests. ``vacuous``: the suite tests nothing, so no
program may pass. ``weak``: the suite runs assertions, and only mutants show that they are vacuous.
``operators``: the tests construct and compare the program's own objects, so it may pass if the row names the
program's operators that affected the verdict.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.contracts.outcomes import Kept
from gristmill.datagen.execution.by_running import ByRunning
from gristmill.datagen.sandbox.jobs import RunScript
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.verify.cost import VerifyCost
from gristmill.datagen.verify.doctests import VerifyDoctests
from gristmill.datagen.verify.reference import VerifyReference
from gristmill.datagen.verify.tests import VerifyTests

FOLDER = Path(__file__).parent / "forged_cases"
DEFAULTS = {
    "program": "def f(x):\n    return 0\n",
    "tests": "assert f(1) == 2\nassert f(5) == 6\n",
    "right": "def f(x):\n    return x + 1\n",
}
DECIDERS = ("doctests", "reference", "cost")


@dataclass(frozen=True)
class Forgery:
    """A row that must not pass. ``tests``: for ``reference``, the reference; for ``cost``, the tests of both.
    ``decider``: ``tests``, ``doctests``, ``reference`` or ``cost``."""

    family: str
    name: str
    program: str
    tests: str
    right: str
    decider: str = "tests"
    vacuous: bool = False
    weak: bool = False
    operators: bool = False

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"


def forgeries() -> list[Forgery]:
    """Return all forgeries, in the order of files and lines."""
    return [case for file in sorted(FOLDER.glob("*.txt")) for case in read(file)]


def read(file: Path) -> Iterator[Forgery]:
    """Read the cases of a family. Raises ValueError if the file does not have this format."""
    title, *blocks = re.split(r"^=== ", file.read_text(encoding="utf-8"), flags=re.M)
    family = title.strip().removeprefix("# ")
    shared: dict[str, str] = {}
    for block in blocks:
        head, _, body = block.partition("\n")
        if head.startswith("@"):
            shared[head] = body.strip("\n")
            continue
        name, flags = re.fullmatch(r"(.*?)(?: \[(.*)\])?", head).groups()  # type: ignore[union-attr]
        yield _forgery(family, name, set(flags.split(", ") if flags else ()), _sections(body, shared))


def _sections(body: str, shared: dict[str, str]) -> dict[str, str]:
    _, *parts = re.split(r"^--- (\w+)\n", body, flags=re.M)
    texts = {name: text.strip("\n") for name, text in zip(parts[::2], parts[1::2], strict=True)}
    return {
        name: "\n".join(shared.get(line, line) for line in text.split("\n")) + "\n"
        for name, text in texts.items()
    }


def _forgery(family: str, name: str, flags: set[str], found: dict[str, str]) -> Forgery:
    decider = next((flag for flag in DECIDERS if flag in flags), "tests")
    if unknown := flags - {*DECIDERS, "vacuous", "weak", "operators"} or set(found) - {
        *DEFAULTS,
        "reference",
    }:
        raise ValueError(f"{family}: {name}: unknown {', '.join(sorted(unknown))}")
    texts = {**DEFAULTS, **found}
    return Forgery(
        family=family,
        name=name,
        program=texts["program"],
        tests=texts.get("reference", texts["tests"]),
        right=texts["right"],
        decider=decider,
        vacuous="vacuous" in flags,
        weak="weak" in flags,
        operators="operators" in flags,
    )


LIMITS = Limits(wall_seconds=10, cpu_seconds=4)
NAIVE = Path(__file__).with_name("naive_harness.py")
#: The program that ``cost`` compares with: it executes 600 lines per call.
DEAR = "def f(x):\n    total = x\n    for i in range(600):\n        total += 1\n    return total\n"


class Verifier:
    """Verifies rows with the operators of a pipeline, with and without their protection."""

    def __enter__(self) -> Verifier:
        self._stack = contextlib.ExitStack()
        opened = self._stack.enter_context
        self._box = opened(Sandbox(LIMITS))
        self._shared = opened(Sandbox(LIMITS, shared_process=True))
        self._packages = opened(Sandbox(LIMITS, workers=1, packages=True))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    async def verified(self, case: Forgery, program: str) -> dict[str, Any]:
        """Return the columns that the operator adds to the row of a program."""
        return await self._judged(_operator(case), case, program, self._box)

    async def control(self, case: Forgery) -> str:
        """Return the protection without which the forgery passes; "" if it never passes."""
        if not case.vacuous:
            row = await self._judged(_operator(case, mutants=0), case, case.program, self._shared)
            if row["passed"]:
                return "no mutants" if case.weak else "shared process"
        if self._passes_naively(case):
            return "naive harness"
        return "pytest" if "import pytest" in case.tests and self._passes_pytest(case) else ""

    async def _judged(self, operator: ByRunning, case: Forgery, program: str, box: Sandbox) -> dict[str, Any]:
        texts = {"program": program, "tests": case.tests, "function": "f", "dear": DEAR}
        outcome = await operator.judged({"_id": str(case), **texts}, box.run, 0)
        if not isinstance(outcome, Kept):
            raise ValueError(f"{case}: {outcome}")
        return dict(outcome.row)

    def _passes_naively(self, case: Forgery) -> bool:
        found = naively(self._box, case.decider, case.program, case.tests)
        if case.decider == "cost":
            honest = naively(self._box, "cost", DEAR, case.tests)
            return found["status"] == "passed" and found["lines"] <= 0.95 * honest["lines"]
        return bool(found["status"] == "passed")

    def _passes_pytest(self, case: Forgery) -> bool:
        """Whether pytest's exit code is 0, or 5 (no tests found)."""
        script = (
            "import pytest, sys\nsys.path.insert(0, '.')\ncode = pytest.main(['-q', '-p', "
            "'no:cacheprovider', 'test_it.py'])\nsys.exit(0 if code in (0, 5) else 1)"
        )
        files = {"program.py": case.program, "test_it.py": f"from program import *\n{case.tests}"}
        return self._packages.run_now(RunScript(script, files=files)).passed


def _operator(case: Forgery, **more: Any) -> ByRunning:
    if case.decider == "cost":
        return VerifyCost(code="program", against="dear")
    if case.decider == "doctests":
        return VerifyDoctests(code="program", **more)
    if case.decider == "reference":
        return VerifyReference(code="program", reference="tests", function="function", calls=20, **more)
    return VerifyTests(code="program", **more)


def naively(box: Sandbox, kind: str, program: str, tests: str) -> dict[str, Any]:
    """Return ``status`` and ``lines`` of the naive harness. A report with the token is trusted."""
    token = "a token that only the harness knows"
    job = {"kind": kind, "program": program, "tests": tests}
    script = f"{NAIVE.read_text(encoding='utf-8')}\n\ncarry_out({job!r}, 1, {token!r})\n"
    for line in reversed(box.run_now(RunScript(script)).stdout.splitlines()):
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get("token") == token:
                return said
    return {"status": "none", "lines": None, "tests": []}
