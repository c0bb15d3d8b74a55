from __future__ import annotations

import pytest
from pydantic import ValidationError

from gristmill.datagen.parsers import RegexParser, Unparsed


def test_groups_become_columns() -> None:
    parser = RegexParser(pattern=r"(?s)Score: (?P<score>\d+).*Why: (?P<why>.*)")
    assert parser.parse("Score: 7\nx\nWhy: because\nso") == [{"score": "7", "why": "because\nso"}]
    assert parser.parse("no") == Unparsed("the pattern does not match")


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("x", "no named group"),
        ("(?P<a>x", "RE2"),
        (r"(?P<a>.)(?=b)", "RE2"),
        ("(?P<a>.)(b)", "named groups only"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RegexParser(pattern=pattern)


def test_a_pattern_that_explodes_elsewhere_is_linear_here() -> None:
    assert RegexParser(pattern=r"^(?P<a>(?:a+)+)$").parse("a" * 100_000 + "b") == Unparsed(
        "the pattern does not match"
    )
