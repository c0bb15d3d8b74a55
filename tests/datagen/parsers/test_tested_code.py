from __future__ import annotations

from collections.abc import Callable

import pytest

from gristmill.datagen.parsers import TestedCodeParser, Unparsed

SOLUTION = "import math\n\n# Adds.\ndef add(a, b):\n    return a + b"


def parsed(text: str) -> tuple[str, str]:
    [row] = TestedCodeParser().parse(text)  # type: ignore[misc]
    return row["solution"], row["tests"]


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{SOLUTION}\n```\nand\n```python\nassert add(1, 2) == 3\n```",
        f"Here:\n```python\n{SOLUTION}\n\nassert add(1, 2) == 3\n```\nIt adds.",
        f"```\n{SOLUTION}\n\nprint(add(2, 2))\nassert add(1, 2) == 3\nif __name__ == '__main__':\n   "
        " add(0, 0)\n```",
    ],
)
def test_it_does_not_matter_how_the_answer_divides_them(text: str) -> None:
    assert parsed(text) == (SOLUTION, "assert add(1, 2) == 3")


def test_test_functions_and_classes_are_tests_and_their_start_is_not() -> None:
    tests = (
        "@slow\ndef test_add():\n    assert add(1, 2) == 3\n\nclass TestAdd:\n    def test_it(self):\n  "
        "      assert add(0, 0) == 0"
    )
    assert parsed(f"```python\n{SOLUTION}\n{tests}\ntest_add()\n```") == (SOLUTION, tests)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no code", "no code block"),
        ("```python\n\n```", "the code block is empty"),
        (f"```python\n{SOLUTION}", "a code fence is not closed"),
        (f"```python\n{SOLUTION}\n```", "no tests in the code"),
        ("```python\nassert True\n```", "no solution in the code"),
        ("```python\ndef f(:\n```", "the code does not parse: invalid syntax"),
        ("```python\nx = 1; assert x\n```", "two statements in one line"),
        ("```python\n" + "(" * 40_000 + "\n```", "the code does not parse"),
        ("```python\n" + "x = 1\n" * 200_000 + "\n```", "characters of code"),
    ],
)
def test_what_is_missing_is_the_reason(text: str, reason: str, cpu_seconds: Callable[..., float]) -> None:
    found = TestedCodeParser().parse(text)
    assert isinstance(found, Unparsed)
    assert reason in found.reason
    assert cpu_seconds(lambda: TestedCodeParser().parse(text)) < 5
