"""What counts as a test: suites as models write them pass on right programs alone, and what tests nothing does not count."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill.datagen.sandbox.jobs import RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Result, Status

from .suites import PROGRAM, SUITES, WRONG


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(Limits(wall_seconds=10, cpu_seconds=3), workers=1) as sandbox:
        yield sandbox


def ran(box: Sandbox, tests: str, program: str = PROGRAM) -> Result:
    return box.run_now(RunTests(program, tests))


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_passes_on_the_right_program_and_fails_on_the_wrong_one(box: Sandbox, name: str) -> None:
    right, wrong = ran(box, SUITES[name]), ran(box, SUITES[name], WRONG)
    assert right.passed, right
    assert right.tests
    assert wrong.status is Status.FAILED, wrong
