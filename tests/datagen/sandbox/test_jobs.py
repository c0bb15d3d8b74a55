"""What a job decides outside the sandbox."""

from __future__ import annotations

import pytest

from gristmill.datagen.sandbox.jobs import RunScript
from gristmill.datagen.sandbox.results import JobResult, Status


@pytest.mark.parametrize(
    ("wanted", "got", "passed"),
    [
        ("a\nb\n", "a \nb", True),
        ("a\r\nb", "a\nb\n\n", True),
        ("", "\n", True),
        ("a\nb", "a\x0cb", False),
        ("a\nb", "a\u2028b", False),
        ("", "a", False),
    ],
)
def test_only_a_newline_ends_a_line_of_the_output(wanted: str, got: str, passed: bool) -> None:
    result = RunScript("", stdout=wanted).decided(JobResult(Status.PASSED, stdout=got))
    assert result.passed is passed
