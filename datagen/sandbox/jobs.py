"""The kinds of jobs that the sandbox runs. ``harness.py`` carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from .messages import encoded
from .results import JobResult, Status


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run as it is sent into the sandbox.

    ``job``: the encoded job. ``stdin``: content of standard input. ``judged``: a separate process, the judge,
    decides the verdict. ``shared_process``: tests and program share a process in a run that would otherwise
    be judged.
    """

    kind: str
    judged: bool
    shared_process: bool
    job: bytes
    stdin: bytes


@dataclass(frozen=True, slots=True)
class Job:
    """One run.

    ``stdin``: content of standard input. ``files``: relative path -> text, written into the run's folder
    first. ``random_seed``: seed of :mod:`random` (and of NumPy, if preloaded); None for a random seed.
    """

    kind: ClassVar[str]
    #: Whether tests or a reference decide the verdict. They then run in a process of their own.
    judged: ClassVar[bool] = False
    stdin: str = field(default="", kw_only=True)
    files: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    random_seed: int | None = field(default=0, kw_only=True)

    def as_request(self) -> dict[str, Any]:
        return {"kind": self.kind, **{each.name: getattr(self, each.name) for each in fields(self)}}

    def request(self, *, shared_process: bool = False) -> RunRequest:
        """The request for this run. ``shared_process``: run tests and program in one process.

        Raises ValueError if the job cannot be encoded.
        """
        shared = self.judged and shared_process
        job = self.as_request()
        return RunRequest(self.kind, self.judged and not shared, shared, encoded(job), job["stdin"].encode())

    def decided(self, result: JobResult) -> JobResult:
        """The final result, after comparisons that are made outside the sandbox."""
        return result


@dataclass(frozen=True, slots=True)
class RunTests(Job):
    """Load ``program``, then run ``tests``, which see the names that it defines.

    Each of these is a test: an ``assert`` at the top level of ``tests``; a call, loop, ``with``, ``if`` or
    ``try`` at the top level in which an assertion runs; a function whose name starts with ``test``; a method
    ``test*`` of a class ``Test*`` or of a ``unittest.TestCase``. Statements are named by their line. A test
    that passes for any program is vacuous and does not count. If all tests are vacuous, so is the run. A run
    without tests is an error.

    ``count_lines``: count the lines that the program executes (``lines`` of the result). This makes the run
    several times slower.
    """

    kind: ClassVar[str] = "tests"
    judged: ClassVar[bool] = True
    program: str
    tests: str
    count_lines: bool = False


@dataclass(frozen=True, slots=True)
class RunDoctests(Job):
    """Run the examples in the docstrings of ``program``.

    An example is a test if its expected output depends on the program. ``prelude``: source placed before the
    program.
    """

    kind: ClassVar[str] = "doctests"
    judged: ClassVar[bool] = True
    program: str
    prelude: str = ""


@dataclass(frozen=True, slots=True)
class RunScript(Job):
    """Run ``program`` as ``__main__``. It fails if it raises or exits with a code other than 0.

    ``stdout``: expected standard output, or None. Lines are compared without trailing whitespace.
    """

    kind: ClassVar[str] = "script"
    program: str
    stdout: str | None = None

    def as_request(self) -> dict[str, Any]:
        return {**Job.as_request(self), "stdout": None}  # the expected output stays outside the sandbox

    def decided(self, result: JobResult) -> JobResult:
        if self.stdout is None or not result.passed:
            return result
        wanted, got = _lines(self.stdout), _lines(result.stdout)
        if wanted == got:
            return result
        at = next((n for n, pair in enumerate(zip(wanted, got, strict=False)) if pair[0] != pair[1]), None)
        if at is None:
            message = f"expected {len(wanted)} lines, got {len(got)}"
        else:
            message = f"line {at + 1}: expected {wanted[at][:100]!r}, got {got[at][:100]!r}"
        return replace(result, status=Status.FAILED, message=message)


@dataclass(frozen=True, slots=True)
class Compile(Job):
    """Compile ``program`` without running it.

    This happens in the sandbox because source text can crash a parser.
    """

    kind: ClassVar[str] = "compile"
    program: str


@dataclass(frozen=True, slots=True)
class Compare(Job):
    """Call ``function`` of ``program`` and of ``reference`` on the same generated arguments.

    ``inputs``: code that defines ``inputs(rng)``, which returns the tuple of arguments of one call. Without
    it, arguments are drawn from the annotations of the reference. ``count``: number of calls. Results,
    exception types and the arguments after the call must be equal; floats up to a relative tolerance of 1e-9.
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
    """Run a program of the sandbox's read-only root. It passes if its exit code is 0.

    ``argv[0]``: a path, or a name on the sandbox's PATH.
    """

    kind: ClassVar[str] = "command"
    argv: tuple[str, ...]


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]
