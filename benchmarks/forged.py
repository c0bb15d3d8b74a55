"""Wrong programs that try to pass, vacuous test suites, and correct programs, which must all pass.

    python -P benchmarks/forged.py [--quick] [--functions FILE] [--humaneval FILE]

Each forgery of ``forged_cases`` is verified as in a pipeline. In a control run without the protecting layer,
the same trick must succeed: in the program's process (``shared_process``), in ``naive_harness.py``, or in
pytest for tests that use it. A forgery whose control does not succeed is broken and proves nothing. The
correct programs are HumanEval's canonical solutions with their tests, and functions whose doctests pass in
the naive harness: those of FILE (rows with ``source`` and ``module_source``) and of some modules of the
standard library. ``--quick``: every eighth case and 60 correct programs.

It also reports runs per second, compared with tests and program in one process.

The exit code is 1 if a forgery passes, a control does not succeed, or a correct program fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.datagen.sandbox.jobs import Job, RunDoctests, RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import JobResult
from gristmill.datagen.sources.python_functions import functions, prelude, source_files

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
from forgeries import Forgery, Verifier, forgeries, naively
from measuring import Figure, versions, write

DATA = Path(__file__).parents[2] / "shared/data"
#: Modules of the standard library whose functions and methods have doctests.
PACKAGES = "statistics", "difflib", "_pydecimal", "collections", "typing", "heapq", "fractions", "ipaddress"
#: Some of the functions take seconds.
PATIENT = Limits(wall_seconds=60, cpu_seconds=20)
QUICK = 8, 60


@dataclass(frozen=True)
class Tried:
    """The result of one case.

    ``verdict``: of the forgery, which depends on the program's ``operators``. ``control``: what it passes
    without the protecting layer, "" for nothing. ``right``: the verdict of a correct program on the same
    tests.
    """

    forgery: Forgery
    verdict: str
    reason: str | None
    control: str
    right: str
    operators: tuple[str, ...] = ()

    @property
    def passed_wrongly(self) -> bool:
        return self.verdict == "passed" and not (self.forgery.operators and self.operators)

    @property
    def right_fails(self) -> bool:
        """Whether a correct program fails; vacuous suites pass no program, weak ones may."""
        if self.forgery.weak:
            return False
        return self.right == "passed" if self.forgery.vacuous else self.right != "passed"


def tried(cases: Sequence[Forgery]) -> list[Tried]:
    """Run every case with its control."""
    with Verifier() as verifier:
        return asyncio.run(_all(cases, verifier))


async def _all(cases: Sequence[Forgery], verifier: Verifier) -> list[Tried]:
    limit = asyncio.Semaphore(len(os.sched_getaffinity(0)))

    async def one(case: Forgery) -> Tried:
        async with limit:
            row = await verifier.verified(case, case.program)
            right = await verifier.verified(case, case.right)
            control = await verifier.control(case)
        operators = tuple(row.get("program_operators") or ())
        return Tried(case, row["verdict"], row["reason"], control, right["verdict"], operators)

    return list(await asyncio.gather(*(one(case) for case in cases)))


@dataclass(frozen=True)
class Right:
    """A correct program with its tests."""

    name: str
    job: Job


def humaneval(file: Path) -> Iterator[Right]:
    for row in _rows(file):
        tests = f"{row['test']}\ncheck({row['entry_point']})\n"
        yield Right(row["task_id"], RunTests(row["prompt"] + row["canonical_solution"], tests))


def documented(file: Path) -> Iterator[Right]:
    """Return functions with doctests, from the file and the standard library."""
    for number, row in enumerate(_rows(file)):
        yield Right(
            f"{file.name}:{number + 1} {row['name']}", RunDoctests(row["source"], row["module_source"])
        )
    for module, path in (found for package in PACKAGES for found in source_files(package)):
        for function in functions(path.read_bytes(), module):
            if function.has_doctest and not function.name.startswith("_"):
                yield Right(f"{module}.{function.qualname}", RunDoctests(function.source, prelude(function)))


def _rows(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Checked:
    """``passed``: correct programs that pass; ``failed``: (name, verdict) of those that wrongly fail."""

    passed: int
    failed: list[tuple[str, str]]
    seconds: float

    @property
    def rate(self) -> float:
        return (self.passed + len(self.failed)) / self.seconds if self.seconds else 0.0


def checked(rights: Sequence[Right], believed: Callable[[Right], bool]) -> Checked:
    """Run correct programs. ``believed``: whether a failing one was known to be correct."""
    workers = len(os.sched_getaffinity(0))
    with Sandbox(PATIENT, workers=workers, packages=True) as box:
        with ThreadPoolExecutor(workers) as threads:
            started = time.perf_counter()
            results: list[JobResult] = list(threads.map(lambda right: box.run_now(right.job), rights))
            seconds = time.perf_counter() - started
        wrong = [(right, result) for right, result in zip(rights, results, strict=True) if not result.passed]
        failed = [(right.name, f"{each.status}: {each.message}") for right, each in wrong if believed(right)]
    return Checked(len(rights) - len(wrong), failed, seconds)


def rate_in_one_process(rights: Sequence[Right]) -> float:
    """Measure runs per second with tests and program in one process."""
    workers = len(os.sched_getaffinity(0))
    with (
        Sandbox(PATIENT, workers=workers, packages=True, shared_process=True) as box,
        ThreadPoolExecutor(workers) as threads,
    ):
        started = time.perf_counter()
        list(threads.map(lambda right: box.run_now(right.job), rights))
        return len(rights) / (time.perf_counter() - started)


def passes_naively(right: Right) -> bool:
    """Whether the naive harness, with ample time, passes a program with its doctests."""
    if not isinstance(right.job, RunDoctests):
        return True
    with Sandbox(PATIENT, workers=1, packages=True) as box:
        said = naively(box, "doctests", f"{right.job.prelude}\n\n{right.job.program}", "")
    return said["status"] == "passed" and bool(said["tests"])


def table(found: Iterable[Tried]) -> tuple[list[str], dict[str, dict[str, int]]]:
    families: dict[str, list[Tried]] = defaultdict(list)
    for each in found:
        families[each.forgery.family].append(each)
    counts = {
        family: {
            "tried": len(cases),
            "passed_wrongly": sum(each.passed_wrongly for each in cases),
            "controls_succeeded": sum(bool(each.control) for each in cases),
            "right_programs_judged_wrongly": sum(each.right_fails for each in cases),
        }
        for family, cases in families.items()
    }
    names = ["tried", "passed wrongly", "controls succeeded"]
    lines = [f"{'':<40}" + "".join(f"{name:>20}" for name in names)]
    for family, count in counts.items():
        lines.append(f"{family:<40}" + "".join(f"{count[name.replace(' ', '_')]:>20}" for name in names))
    return lines, counts


def complaints(found: Iterable[Tried]) -> Iterator[str]:
    for each in found:
        if each.passed_wrongly:
            yield f"PASSES WRONGLY  {each.forgery}"
        if not each.control:
            yield f"BROKEN ATTACK   {each.forgery} (its control does not succeed either)"
        if each.right_fails:
            yield f"RIGHT JUDGED    {each.forgery}: a right program is {each.right}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--functions", type=Path, default=DATA / "python_functions.jsonl")
    parser.add_argument("--humaneval", type=Path, default=DATA / "humaneval.jsonl")
    asked = parser.parse_args()
    step, most = QUICK if asked.quick else (1, None)
    found = tried(forgeries()[::step])
    lines, counts = table(found)
    print("\n".join([*lines, "", *complaints(found)]))
    sets = {
        "HumanEval": list(humaneval(asked.humaneval))[:most],
        "doctests": list(documented(asked.functions))[:most],
    }
    right = {name: checked(rights, passes_naively) for name, rights in sets.items()}
    for name, each in right.items():
        print(
            f"{name}: {each.passed} right programs pass, {len(each.failed)} wrongly failed, "
            f"{each.rate:.0f} runs/s"
        )
        print("".join(f"  WRONGLY FAILED {what}: {why}\n" for what, why in each.failed), end="")
    before = rate_in_one_process(sets["HumanEval"]) if sets["HumanEval"] else 0.0
    passed, tries = sum(each.passed_wrongly for each in found), len(found)
    succeeded = sum(bool(each.control) for each in found)
    figures = [
        Figure("forgeries that pass", "of all", passed, succeeded, "unprotected", "", passed / tries, "0")
    ]
    figures += [
        Figure(f"right programs failed: {name}", "programs", len(each.failed), 0, "none", "", 0.0, "0")
        for name, each in right.items()
    ]
    if before:
        now = right["HumanEval"].rate
        figures.append(Figure("HumanEval", "runs/s", now, before, "one process", "", now / before, ">= 0.8"))
    more = {
        "families": counts,
        "forgeries": tries,
        "right": {name: {"passed": each.passed, "failed": each.failed, "runs_per_second": each.rate}
                  for name, each in right.items()},
        "complaints": list(complaints(found)),
        "quick": asked.quick,
    }  # fmt: skip
    write("forged", figures, versions(), more)
    if any(complaints(found)) or any(each.failed for each in right.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
