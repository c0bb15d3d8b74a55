"""Judges a program that runs in another process, by its tests, its doctests, or a reference."""

from __future__ import annotations

import ast
import doctest
import sys
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any

from . import comparing, describing, doctests, naming, unit_tests, watching
from .defining import define, remember
from .failing import NoVerdict
from .judge import Judge
from .reporting import Report, describe

_check_output = doctest.OutputChecker.check_output


def _same_output(self: doctest.OutputChecker, want: str, got: str, flags: int) -> bool:
    """Compare output as doctest does, but ignore the order of sets, which differs between processes."""
    if _check_output(self, want, got, flags):
        return True
    if "{" not in want or "{" not in got:
        return False
    try:
        wanted = ast.literal_eval(want.strip())
        return bool(_holds_set(wanted) and wanted == ast.literal_eval(got.strip()))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _holds_set(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_set, value.values()))
    return isinstance(value, set) or (isinstance(value, (list, tuple)) and any(map(_holds_set, value)))


def judged(job: Mapping[str, Any], judge: Judge) -> tuple[Report, bool]:
    """The report of the run, and whether the program's process ended before it was complete."""
    report = Report()
    doctest.OutputChecker.check_output = _same_output  # type: ignore[method-assign, assignment]
    gone = False
    try:
        _JOBS[job["kind"]](job, judge, report)
    except MemoryError:
        report.end("memory", "raised MemoryError")
    except BaseException as error:
        report.end("error", describe(error))
    if judge.verdict is not None:
        gone = judge.gone
        report.end("error", judge.verdict)
    report.program_operators = tuple(judge.operators)
    return report, gone


def _loaded(judge: Judge, report: Report, program: str, job: Mapping[str, Any]) -> bool:
    try:
        judge.load(program, random_seed=job["random_seed"], counted=bool(job.get("count_lines")))
    except (MemoryError, NoVerdict):
        raise
    except BaseException as error:
        report.end("error", f"the program raised {describe(error)}")
        return False
    return True


def _tests(job: Mapping[str, Any], judge: Judge, report: Report) -> None:
    if not _loaded(judge, report, job["program"], job):
        return
    tests = job["tests"]
    space = _namespace("tests", tests, unit_tests.TESTS)
    watching.watch(judge, tests)
    own = naming.bound(tests)
    _import_as_module(judge, own)
    judge.bring(naming.visible(judge.names, tests), space, own)
    _own_modules(judge, space, tests)
    _trust(judge, space, tests)
    unit_tests.run(tests, space, report.note, report.end)
    if job["count_lines"]:
        lines, why = judge.ask("lines", None)
        report.count(int(lines), None if why is None else str(why))


def _doctests(job: Mapping[str, Any], judge: Judge, report: Report) -> None:
    prelude = f"{job['prelude']}\n\n" if job["prelude"] else ""
    program = prelude + job["program"]
    if not _loaded(judge, report, program, job):
        return
    _import_as_module(judge)
    watching.watch(judge, program)

    def bring(name: str, source: str) -> dict[str, Any]:
        space: dict[str, Any] = {"__name__": "program"}
        judge.bring(naming.visible(judge.names, source, name.partition(".")[0]), space)
        _own_modules(judge, space, source, name.partition(".")[0])
        _trust(judge, space, source, name.partition(".")[0])
        return space

    doctests.run_apart(program, bring, report.note, report.end)


def _compare(job: Mapping[str, Any], judge: Judge, report: Report) -> None:
    try:
        reference = define(job["reference"], "reference", "<reference>")
        draw = define(job["inputs"], "inputs", "<inputs>")["inputs"] if job["inputs"] else None
    except MemoryError:
        raise
    except BaseException as error:
        report.end("error", f"the reference raised {describe(error)}")
        return
    if not _loaded(judge, report, job["program"], job):
        return
    name = job["function"]
    if name not in reference or name not in judge.names:
        report.end("error", f"no function {name!r} is defined")
        return
    watching.watch_random(judge)
    program = judge.global_value(name)
    comparing.run(reference[name], program, draw, job["count"], job["seed"], report.note, report.end)


def _trust(judge: Judge, space: Mapping[str, Any], tests: str, own: str = "") -> None:
    """Trust the operators of the classes that the tests name, and of ``own``, the class of a docstring."""
    if any(isinstance(value, type) for value in space.values()):
        for name in {*naming.free(tests), own}:
            judge.trust(space.get(name))


def _own_modules(judge: Judge, space: dict[str, Any], tests: str, own: str = "") -> None:
    """Bind names that the tests use as standard modules to those modules.

    This also holds for names that the program defines.
    """
    names = {
        name
        for name in space.keys() & sys.stdlib_module_names
        if name != own and not isinstance(space[name], types.ModuleType) and not _is_standard(space[name])
    }
    space.update(naming.used_as_modules(names, judge.names, tests))


def _is_standard(value: Any) -> bool:
    return isinstance(value, type) and describing.standard_name(value) is not None


def _namespace(name: str, source: str, filename: str) -> dict[str, Any]:
    """The namespace of a new module of this process. Tracebacks can show its source."""
    remember(source, filename)
    made = types.ModuleType(name)
    sys.modules[name] = made
    return vars(made)


def _import_as_module(judge: Judge, own: Collection[str] = ()) -> None:
    """Make the program importable.

    ``own``: names that the tests bind. ``from program import *`` leaves them out.
    """
    for name in naming.MODULES:
        made = ProgramModule(name)
        made.__dict__["_judge_"], made.__dict__["_own_"] = judge, own
        sys.modules[name] = made


class ProgramModule(types.ModuleType):
    """The program, for tests that import it. Attributes that they set are set in the program's process."""

    _judge_: Judge
    _own_: Collection[str]

    def __getattr__(self, name: str) -> Any:
        judge = self._judge_
        if name == "__all__":
            return sorted(naming.offered(judge.names) - set(self._own_))
        if not judge.defines(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = judge.global_value(name)
        judge.trust(value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            super().__setattr__(name, value)
        else:
            self._judge_.ask("set global", name, value)

    def __delattr__(self, name: str) -> None:
        self._judge_.ask("delete global", name)

    def __dir__(self) -> list[str]:
        return sorted(self._judge_.names)


_JOBS: dict[str, Callable[[Mapping[str, Any], Judge, Report], None]] = {
    "tests": _tests,
    "doctests": _doctests,
    "compare": _compare,
}
