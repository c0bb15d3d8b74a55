"""The verdict on a row from one or several runs of its code."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, Self

from ...contracts.rows import Row
from ..sandbox.jobs import Job
from ..sandbox.limits import Limits
from ..sandbox.results import JobResult, Status

if TYPE_CHECKING:
    import pyarrow as pa


class RunsJobs(Protocol):
    """Runs one job, within its own limits if given: ``Sandbox.run``."""

    def __call__(self, job: Job, limits: Limits | None = None, /) -> Awaitable[JobResult]: ...


class Verdict(StrEnum):
    """The status of a result, or what only several runs show.

    ``flaky``: the runs differ. ``vacuous``: the tests also pass on mutants.
    """

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    KILLED = "killed"
    REFUSED = "refused"
    FLAKY = "flaky"
    VACUOUS = "vacuous"


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verdict depends on.

    ``program_operators``: the program's own operators that affected it (``Vector.__eq__``), sorted.
    ``shared_process``: tests and program ran in one process, where the program can forge its verdict.
    """

    program_operators: tuple[str, ...] = ()
    shared_process: bool = False

    @classmethod
    def of(cls, results: Iterable[JobResult]) -> Self:
        """Combine the trust of several runs."""
        runs = list(results)
        names = sorted({name for result in runs for name in result.program_operators})
        return cls(tuple(names), any(result.shared_process for result in runs))

    def as_columns(self) -> Row:
        return {
            "program_operators": [encodable(name) for name in self.program_operators],
            "shared_process": self.shared_process,
        }


def trust_types() -> Mapping[str, pa.DataType]:
    """The columns that state what a verdict depends on."""
    import pyarrow as pa

    return {"program_operators": pa.list_(pa.string()), "shared_process": pa.bool_()}


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgment of a row.

    ``failed_tests``: names. ``fraction``: of the tests that ran, the share that passed; 0 if none ran.
    ``seconds``: processor time of one run. ``trust``: what the verdict depends on besides plain data.
    """

    verdict: Verdict
    message: str
    failed_tests: tuple[str, ...]
    fraction: float
    seconds: float
    trust: Trust

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASSED


async def judge(jobs: Sequence[Job], run: RunsJobs, repeats: int = 1) -> Judged:
    """Run all jobs that together decide one row (several inputs, for example), ``repeats`` times.

    The first job that does not pass gives the verdict. If a repetition, which has different random numbers,
    gives another verdict, the row is flaky.
    """
    judged = await _once(jobs, run, 0)
    for number in range(1, repeats):
        again = await _once(jobs, run, number)
        if (again.verdict, again.failed_tests) != (judged.verdict, judged.failed_tests):
            said = f"run 1 {judged.verdict}, run {number + 1} {again.verdict}"
            names = tuple(dict.fromkeys([*judged.failed_tests, *again.failed_tests]))
            fraction = min(judged.fraction, again.fraction)
            return Judged(Verdict.FLAKY, said, names, fraction, judged.seconds, judged.trust)
    return judged


async def _once(jobs: Sequence[Job], run: RunsJobs, random_seed: int) -> Judged:
    results = [await run(replace(job, random_seed=random_seed)) for job in jobs]
    wrong = next((result for result in results if not result.passed), None)
    counted = [
        (len(r.tests) or 1, len(r.tests) - len(r.failed_tests) if r.tests else r.passed) for r in results
    ]
    decided = wrong is None or wrong.status is Status.FAILED
    return Judged(
        verdict=Verdict.PASSED if wrong is None else Verdict(wrong.status.value),
        message="" if wrong is None else wrong.message,
        failed_tests=tuple(name for result in results for name in result.failed_tests),
        fraction=sum(passed for _, passed in counted) / sum(ran for ran, _ in counted) if decided else 0.0,
        seconds=sum(result.cpu_seconds for result in results),
        trust=Trust.of(results),
    )


def encodable(text: str) -> str:
    """Remove characters that UTF-8, and so Arrow, cannot encode."""
    return text.encode("utf-8", "replace").decode()
