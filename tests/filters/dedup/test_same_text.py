"""Detection of code, and the normalization of each mode."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.dedup.same_text import (
    looks_like_code,
    normalize_code,
    normalize_prose,
    text_key,
    value_key,
)

CODE = [
    "return x",
    "x + 1",
    "import os\nimport sys",
    "if x:\n    y()\nz()",
    "def f(x): return x",
    "for i in range(3): pass",
    "print('hi')",
    "a[0]",
    "SELECT name FROM people;",
    "let x = Y",
    "std::vector<int> v",
    "\\frac{a}{b}",
    "use `x` here",
    "```\nx\n```",
    "items:\n\t- a",
    "while (true) { i++; }",
    "lambda: X",
    "del a, b",
]
PROSE = [
    "",
    "!!!",
    "r",
    "Yes, no",
    "3.14",
    "Name: Bob",
    "don't",
    "What is the capital of France (the country)?",
    "One; two; three.",
    "first line\nsecond line\n\nthird line",
    "今天天气很好",
    "1. one\n2. two",
    "a" * 5000,
    "a, " * 2000,
    "Write a poem about the sea in 4 lines.",
]


@pytest.mark.parametrize("text", CODE)
def test_code_is_told_by_its_signs_or_by_python(text: str) -> None:
    assert looks_like_code(text)
    assert looks_like_code(f"\n  {text}  \n")


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_not_taken_for_code(text: str) -> None:
    assert not looks_like_code(text)
    assert not looks_like_code(f"  {text} \n")


@given(st.text(max_size=40))
def test_any_text_can_be_compared(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for normalize in ("auto", "prose", "code", "none"):
            key = text_key(normalize)(text)
            assert hash(key) == hash(text_key(normalize)(text))
    assert normalize_code(normalize_code(text)) == normalize_code(text)


def test_prose_folds_case_space_and_form() -> None:
    assert normalize_prose("  Straße\u00a0\n №①  ") == "strasse no1"
    assert normalize_prose("Don't, “stop”…", strip_punctuation=True) == "dont stop"
    assert normalize_prose("a+b=c", strip_punctuation=True) == "a+b=c"


def test_code_folds_line_ends_and_what_nobody_sees() -> None:
    assert normalize_code("\n\nif x: \t\r\n    y\r\n\n") == "if x:\n    y"
    assert normalize_code("  x\n y") == "  x\n y"


def test_code_never_equals_prose() -> None:
    key = text_key("auto")
    assert key("return x") != key("Return  x")
    assert key("RETURN  to the X.") == key("return to the x.")


def test_values_within_values_are_compared_and_their_nulls_are_nothing() -> None:
    key = text_key("auto")
    assert value_key([{"a": "X", "b": None}], key) == value_key([{"a": "x"}], key)
    assert value_key([{"a": "x"}], key) != value_key([{"b": "x"}], key)
    assert value_key(["a", ["b"]], key) != value_key(["a", "b"], key)


@pytest.mark.parametrize(
    "text", ["a\n" + " " * 1_000_000, "a\n" + "\t" * 1_000_000, ";" + " " * 1_000_000 + "x"]
)
def test_a_long_text_is_read_once(text: str) -> None:
    """Scanning the blanks again from each of them would take hours."""
    assert isinstance(looks_like_code(text + "\x0b"), bool)
