"""Errors that show without running, each at the line that must be removed."""

from __future__ import annotations

import pytest

from gristmill.datagen.edits.lint import error_lines, outside_names


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        ("", []),
        ("import os\nunused = 1\n", []),
        ("def f(x):\n    return g(x)\n\ndef g(x):\n    return x\n", []),
        ("from os import *\nprint(sep)\n", []),
        ("x = y\nz = x\nprint(w)\n", [1, 3]),
        ("def f():\n    print(a)\n    a = 1\n", [2]),
        ("if x:\n", [1]),
        ("x = 1\nfor i in x:\n\ny = 2\n", [2]),
        ("x = 1\n    y = 2\n", [2]),
        ("try:\n    x = 1\ny = 2\nz = 3\n", [1]),
        ("@cache\nx = 1\n", [1]),
        ("x = (1,\n", [1]),
        ("return 1\n", [1]),
        ("break\n", [1]),
        ("else:\n    x = 1\n", [1]),
        ("\0", [1]),
        ("(" * 100_000, [1]),
    ],
)
def test_lines_with_errors(program: str, lines: list[int]) -> None:
    assert error_lines(program) == lines


def test_names_from_around_the_program() -> None:
    program = "def f(x):\n    y = sqrt(x)\n    return y + z + undefined_later\n"
    assert outside_names(program) == {"sqrt", "z", "undefined_later"}
    assert error_lines(program) == [2, 3]
    assert error_lines(program, outside_names(program)) == []
    assert error_lines("print(y)\n", {"z"}) == [1]
