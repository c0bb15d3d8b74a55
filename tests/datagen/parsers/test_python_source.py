from __future__ import annotations

import ast
import gc
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.datagen.parsers.python_source import parse_python


@given(st.text() | st.binary())
def test_a_tree_or_a_syntax_error(text: str | bytes) -> None:
    try:
        tree = parse_python(text)
    except SyntaxError:
        return
    assert ast.dump(tree) == ast.dump(ast.parse(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = \x00", "null"),
        ("(" * 40_000, "nested|many|Memory"),
        ("-" * 200_000 + "1", "Recursion|Memory|complex"),
        ("x = '\ud800'", "Unicode"),
        ("def f(:", "invalid syntax"),
    ],
)
def test_each_way_not_to_parse_is_a_syntax_error_that_says_why(text: str, said: str) -> None:
    with pytest.raises(SyntaxError, match=said):
        parse_python(text)


def test_python_warns_of_nothing_in_the_text() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(parse_python(r"x = '\d' is 1"), ast.Module)


class Parses:
    """Garbage that parses a program while it is collected, as printing a traceback does."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        ast.parse("x = [1, (2, 3)]")


def test_garbage_that_is_collected_meanwhile_may_parse_too() -> None:
    program = "\n".join(f"x{n} = f(x, [{n}, (y, z)])" for n in range(300))
    expected = ast.dump(ast.parse(program))
    usual = gc.get_threshold()
    gc.collect()
    Parses()
    gc.set_threshold(200)
    try:
        assert ast.dump(parse_python(program)) == expected
    finally:
        gc.set_threshold(*usual)
