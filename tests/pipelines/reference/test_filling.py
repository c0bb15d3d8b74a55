from __future__ import annotations

import pytest

from gristmill.pipelines.reference.filling import filled


@pytest.mark.parametrize("width", range(20, 70, 3))
def test_code_is_not_broken(width: int) -> None:
    text = "An expression of few characters, as `x or quantile(y, 0.2)`, is read with `a: b`."
    lines = filled(text, width).split("\n")
    assert " ".join(lines) == text
    for code in ("`x or quantile(y, 0.2)`", "`a: b`"):
        assert any(code in line for line in lines)


@pytest.mark.parametrize("mark", ["-", "+", "*", ">", "=", "#", "##", "1.", "12)"])
@pytest.mark.parametrize("width", range(8, 24))
def test_no_line_begins_with_what_markdown_takes_for_a_mark(mark: str, width: int) -> None:
    text = f"the loss {mark} is told {mark} in words"
    lines = filled(text, width).split("\n")
    assert " ".join(lines) == text
    assert not [line for line in lines if line.startswith(f"{mark} ") or line == mark]


def test_the_first_line_and_further_ones_have_beginnings_of_their_own() -> None:
    assert filled("one two three", 9, "- ", "  ") == "- one two\n  three"
