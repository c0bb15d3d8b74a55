from __future__ import annotations

import pytest

from gristmill.datagen.parsers.number import NumberParser
from gristmill.datagen.parsers.parser import Unparsed


@pytest.mark.parametrize(
    "text", ["So 2 * 3.\nThe answer is 6.", " **Answer:** $6.00\n", "#### 6", "\\boxed{12/2}"]
)
def test_equal_numbers_are_one_text(text: str) -> None:
    assert NumberParser(column="solution").parse(text) == [{"solution": text.strip(), "found": "6"}]


def test_a_number_that_is_not_marked_counts_only_where_it_may() -> None:
    text = "They have 6 apples."
    assert NumberParser().parse(text) == Unparsed("no number is marked as the answer")
    assert NumberParser(find="last").parse(text) == [{"response": text, "found": "6"}]
    assert NumberParser(find="last").parse("None.") == Unparsed("there is no number")
