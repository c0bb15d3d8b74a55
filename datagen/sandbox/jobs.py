"""What can be asked of the sandbox. ``harness.py`` carries each kind out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from .messages import encoded
from .results import Result, Status


@dataclass(frozen=True, slots=True)
class Request:
    """A run as it goes into the sandbox. ``job``: the message that says what is to be done; ``stdin``: what can be read there.

    ``judged``: a process of its own decides. ``shared_process``: it has none, and would have one otherwise.
    """

    kind: str
    judged: bool
    shared_process: bool
    job: bytes
    stdin: bytes


@dataclass(frozen=True, slots=True)
class Job:
    """One run. ``stdin``: what it can read there. ``files``: relative path -> text, written into its folder first.
    ``random_seed``: where its :mod:`random` starts (and NumPy's, where that is preloaded); None for chance."""

    kind: ClassVar[str]
    #: Whether tests or a reference decide, which are then in a process of their own.
    judged: ClassVar[bool] = False
    stdin: str = field(default="", kw_only=True)
    files: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    random_seed: int | None = field(default=0, kw_only=True)

    def as_request(self) -> dict[str, Any]:
        return {"kind": self.kind, **{each.name: getattr(self, each.name) for each in fields(self)}}

    def request(self, *, shared_process: bool = False) -> Request:
        """What asks the sandbox for this run. ``shared_process``: tests and program in one process.

        Raises ValueError where it cannot be sent.
        """
        shared = self.judged and shared_process
        job = self.as_request()
        return Request(self.kind, self.judged and not shared, shared, encoded(job), job["stdin"].encode())

    def decided(self, result: Result) -> Result:
        """The result as this job sees it: what it keeps from the run is compared out here."""
        return result


@dataclass(frozen=True, slots=True)
class RunTests(Job):
    """Define ``program``, then run ``tests``, which see the names that it defines.

    A test is: each ``assert``, and each call, loop, ``with``, ``if`` and ``try`` at the top level of ``tests`` in which an
    assertion runs (named by its line); each function whose name starts with ``test``; each method ``test*`` of a class
    ``Test*`` or of a ``unittest.TestCase``. One that can tell nothing of the program is vacuous and does not count; where
    all are, so is the run. No test at all is an error. ``count_lines``: count the lines that the
    program executes (the result's ``lines``), which makes it several times slower.
    """

    kind: ClassVar[str] = "tests"
    judged: ClassVar[bool] = True
    program: str
    tests: str
    count_lines: bool = False


@dataclass(frozen=True, slots=True)
class RunDoctests(Job):
    """Run the examples in ``program``'s docstrings; each that expects something of the program is a test.
    ``prelude`` is put before the program."""

    kind: ClassVar[str] = "doctests"
    judged: ClassVar[bool] = True
    program: str
    prelude: str = ""


@dataclass(frozen=True, slots=True)
class RunScript(Job):
    """Run ``program`` as ``__main__``. It fails where it raises, or exits with anything but 0.

    ``stdout``: what it must print, where that is given; line by line, without trailing white space.
    """

    kind: ClassVar[str] = "script"
    program: str
    stdout: str | None = None

    def as_request(self) -> dict[str, Any]:
        return {**Job.as_request(self), "stdout": None}  # the answer stays out of the sandbox

    def decided(self, result: Result) -> Result:
        if self.stdout is None or not result.passed:
            return result
        wanted, got = _lines(self.stdout), _lines(result.stdout)
        if wanted == got:
            return result
        at = next((n for n, pair in enumerate(zip(wanted, got, strict=False)) if pair[0] != pair[1]), None)
        if at is None:
            message = f"printed {len(got)} lines for {len(wanted)}"
        else:
            message = f"line {at + 1}: expected {wanted[at][:100]!r}, got {got[at][:100]!r}"
        return replace(result, status=Status.FAILED, message=message)


@dataclass(frozen=True, slots=True)
class Compile(Job):
    """Compile ``program`` and run nothing. Done in the sandbox because a source text can crash a parser."""

    kind: ClassVar[str] = "compile"
    program: str


@dataclass(frozen=True, slots=True)
class Compare(Job):
    """Call ``function`` of ``program`` and of ``reference`` on the same generated arguments.

    ``inputs``: code that defines ``inputs(rng)``, which returns the tuple of arguments of one call; without
    it they are drawn from the reference's annotations. ``count``: how many calls. Results, exceptions
    (by type) and what became of the arguments must be the same; floats to a relative 1e-9.
    """

    kind: ClassVar[str] = "compare"
    judged: ClassVar[bool] = True
    program: str
    reference: str
    function: str
    inputs: str = ""
    count: int = 50
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Command(Job):
    """Run a program of the sandbox's read-only root (``argv[0]``: a path or a name on its PATH). It passes with exit code 0."""

    kind: ClassVar[str] = "command"
    argv: tuple[str, ...]


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
