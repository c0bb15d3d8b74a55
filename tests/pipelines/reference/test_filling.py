from __future__ import annotations

import pytest

from gristmill.pipelines.reference.filling import filled


def test_code_is_not_broken_so_no_line_of_it_begins_a_quotation() -> None:
    text = "An expression of at most 20 characters, as `x > quantile(0.2)`, is read."
    lines = filled(text, 45).split("\n")
    assert " ".join(lines) == text
    assert any("`x > quantile(0.2)`" in line for line in lines)


@pytest.mark.parametrize("mark", ["-", "+", "*", ">", "=", "#", "##", "1.", "12)"])
@pytest.mark.parametrize("width", range(8, 24))
def test_no_line_begins_with_what_markdown_takes_for_a_mark(mark: str, width: int) -> None:
    text = f"the loss {mark} is told {mark} in words"
    lines = filled(text, width).split("\n")
    assert " ".join(lines) == text
    assert not [line for line in lines if line.startswith(f"{mark} ") or line == mark]


def test_the_first_line_and_further_ones_have_beginnings_of_their_own() -> None:
    assert filled("one two three", 9, "- ", "  ") == "- one two\n  three"
