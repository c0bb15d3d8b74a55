"""Final answers: found in solutions, compared exactly, in time linear in the text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.parsers.final_number import final_number
from gristmill.datagen.verify.number import VerifyNumber


def verified(operator: VerifyNumber, *rows: dict[str, Any]) -> list[Any]:
    apply = operator.open(None)  # type: ignore[arg-type]
    found = asyncio.run(apply([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))
    assert [len(outcomes) for outcomes in found] == [1] * len(rows)
    return [outcome for [outcome] in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("She has 3 left.\n#### 72", "72"),
        ("so \\boxed{\\frac{3}{4}} of it, in 2 days.", "0.75"),
        ("\\[ \\boxed{5\\text{ cm}} \\]", "5"),
        ("The answer is 3 + 4 = 7 apples, not 9.", "7"),
        ("**Answer:** **42**\n\nI hope that helps in 2024!", "42"),
        ("Final answer:\n\n$1,200.50", "1200.5"),
        ("The final answer is: \\(\\boxed{-12}\\)", "-12"),
        ("The answer is 4. No: the answer is 5.", "5"),
        ("The answer is clear: a dozen. It took 10 minutes.\nThat makes 12.", "12"),
        ("#### Step 1: Add\n5 + 6 = 11", "11"),
        ("#### 2. Add 5 and 6\nThat is 11", "11"),
        ("#### $70,000 dollars", "70000"),
        ("10 - 4 is 10-4", "4"),
        ("it is -5 degrees", "-5"),
        ("a debt of $-5", "-5"),
        ("a debt of -$5", "-5"),
        ("\u22127", "-7"),
        ("\\$18", "18"),
        ("1 1/2 cups", "1.5"),
        ("2\\frac{1}{3} cups", "7/3"),
        ("10 / 4", "2.5"),
        ("a third, 1/3", "1/3"),
        ("1{,}234", "1234"),
        ("2.5 \\times 10^{3} m", "2500"),
        ("1.5e3", "1500"),
        ("50 %", "50%"),
        ("18.00", "18"),
        ("about .5 of it", "0.5"),
        ("12cm", "12"),
        ("water is H2O and v1", None),
        ("\\boxed{12 m}", "12"),
        ("\\boxed{x = 5}", "5"),
        ("\\boxed{\\frac{-1}{2}}", "-0.5"),
        ("-\\frac{1}{\u22122}", "0.5"),
        ("The answer is \\frac{1}{2}.", "0.5"),
        ("Final answer:\n\\[\n5\n\\]\nThat is 1 more.", "5"),
        ("The answer is 18/hour", "18"),
        ("The answer is $18/hour", "18"),
        ("The answer is 18 / hour.", "18"),
        ("The answer is $18 / hr", "18"),
        ("The answer is $18/hr.", "18"),
        ("$5 / kg.", "5"),
        ("60 / km", "60"),
        ("15/lb", "15"),
        ("The answer is 2 p.m.", "2"),
        ("The answer is 2p.m. on Monday.", "2"),
        ("The answer is 10!", "10"),
        ("The answer is **10!**", "10"),
        ("So it is 10!", "10"),
        ("The answer is 18 - 9 eggs at 2 dollars.", "18"),
        ("7/0", None),
        ("no number", None),
        ("", None),
    ],
)
def test_where_the_answer_is(text: str, found: str | None) -> None:
    number = final_number(text)
    assert (number and number.text) == found


def test_only_marked_numbers_count_where_that_is_asked() -> None:
    assert final_number("12 apples", "marked") is None
    assert final_number("12 apples\n#### 12", "marked") is not None


@pytest.mark.parametrize(
    ("response", "answer", "passed"),
    [
        ("#### 42", "6 * 7 = <<6*7=42>>42\n#### 42", True),
        ("#### 41", "#### 42", False),
        ("It costs $1,000.00.", 1000, True),
        ("The answer is 0.1", "0.1", True),
        ("The answer is 0.3", 0.1 + 0.2, False),
        ("half of it: 1/2", "0.5", True),
        ("about 0.33", "1/3", False),
        ("That is 50%.", "50", True),
        ("That is 50%.", "0.5", True),
        ("That is 50%.", "0.5%", False),
        ("50", "50%", True),
        ("That is 2.5.", Decimal("2.50"), True),
        ("That is 0.", Decimal("0.00000000"), True),
        ("That is 2.51.", Decimal("2.50"), False),
    ],
)
def test_numbers_are_compared_exactly(response: str, answer: Any, passed: bool) -> None:
    [outcome] = verified(VerifyNumber(), {"response": response, "answer": answer})
    assert outcome.row["passed"] is passed
    assert (outcome.row["reason"] is None) is passed


@pytest.mark.parametrize(
    "text",
    [
        "x+1",
        "2x+1",
        "5\\pi",
        "3\\sqrt{2}",
        "\\sqrt{2}",
        "5x",
        "x^2",
        "(1, 2)",
        "1, 2",
        "10-4",
        "20 - 2",
        "20 - 2x",
        "- 5",
        "18/x",
        "18 / x",
        "18/xy",
        "18/ln 2",
        "2\\frac{-1}{3}",
        "\\frac{1}{x}",
    ],
)
def test_a_number_within_an_expression_is_no_answer(text: str) -> None:
    for form in ("{}", "so 5 is 5, and \\boxed{{{}}}", "The answer is ${}$."):
        assert final_number(form.format(text)) is None, form
    [unlike] = verified(VerifyNumber(), {"response": "5", "answer": text})
    assert unlike.error == "column 'answer' holds text without a number; a number is required"


@pytest.mark.parametrize("text", ["20 - 2 apples", "5 - 6 days", "18/sqrt(2)", "18/sin x", "\\sqrt{2}"])
def test_words_make_an_expression_no_sentence(text: str) -> None:
    for form in ("\\boxed{{{}}}", "The answer is {}."):
        assert final_number(form.format(text)) is None, form


@pytest.mark.parametrize("text", ["10!", "\\boxed{10!}", "\\boxed{x = 10!}", "The answer is $10!$."])
def test_a_factorial_is_an_expression(text: str) -> None:
    assert final_number(text) is None


def test_what_a_row_is_told() -> None:
    operator = VerifyNumber(response="text", answer="gold", find="marked")
    wrong, none, null, unlike, missing, nothing = verified(
        operator,
        {"text": "#### 1,200", "gold": "#### 12"},
        {"text": "perhaps 12", "gold": "#### 12"},
        {"text": None, "gold": "#### 12"},
        {"text": "#### 12", "gold": True},
        {"text": "#### 12"},
        {"text": "#### 12", "gold": "a dozen"},
    )
    assert wrong.row == {"passed": False, "found": "1200", "reason": "found 1200, expected 12"}
    assert none.row == {"passed": False, "found": None, "reason": "no number is marked as the answer"}
    assert [outcome.error for outcome in (null, unlike, missing, nothing)] == [
        "column 'text' holds NoneType; text is required",
        "column 'gold' holds bool; a number is required",
        "column 'gold' is missing; a number is required",
        "column 'gold' holds text without a number; a number is required",
    ]
    table = pa.Table.from_pylist([wrong.row, none.row], schema=pa.schema(operator.types()))
    assert operator.summary(table) == {"passed": 0, "another number": 1, "no number": 1}


numbers = st.fractions(-(10**9), 10**9, max_denominator=10**4)


@given(numbers, st.sampled_from(["#### {}", "\\boxed{{{}}}", "The answer is {}.", "x = {} apples", "${}"]))
def test_any_number_is_read_back_and_equal_numbers_have_one_text(value: Fraction, form: str) -> None:
    found = final_number(form.format(f"{value.numerator}/{value.denominator}"))
    assert found is not None
    assert found.value == value
    again = final_number(found.text)
    assert again is not None
    assert (again.value, again.text) == (value, found.text)


@given(st.integers(-(10**12), 10**12), st.integers(0, 4))
def test_commas_and_trailing_zeros_change_nothing(value: int, zeros: int) -> None:
    found = final_number(f"so it is {value:,}{'.' * bool(zeros)}{'0' * zeros}")
    assert found is not None
    assert found.text == str(value)


pieces = st.sampled_from(
    ["1", "1,", "111,", "answer is ", "\\boxed{", "#### ", "\\frac{1}", "- ", "$", "1/", "{,}", " ", "-1",
     ".", "1.", "1e1", "*", "\\text{", "9", "\n", "1 2/", "\\times 10^", "\u22121", "\0", "\ud800", "é"]
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(pieces, max_size=60))
def test_any_text_has_an_answer_or_none(text: list[str]) -> None:
    row = {"response": "".join(text), "answer": "1"}
    [outcome] = verified(VerifyNumber(), row)
    assert isinstance(outcome, Kept)
    assert outcome.row["passed"] or outcome.row["reason"]


@settings(max_examples=4)
@given(st.lists(pieces, min_size=1, max_size=3))
def test_a_million_characters_cost_what_their_length_does(
    cpu_seconds: Callable[..., float], text: list[str]
) -> None:
    def seconds(characters: int) -> float:
        unit = "".join(text)
        long = unit * (characters // len(unit))
        return cpu_seconds(lambda: final_number(long))

    # Ten times the text takes ten times as long; quadratic time would be a hundred times.
    assert seconds(1_000_000) < 0.05 + 30 * max(seconds(100_000), 0.002)


def test_a_row_that_fails_costs_the_others_nothing() -> None:
    outcomes = verified(VerifyNumber(), {"response": 3, "answer": "3"}, {"response": "3", "answer": "3"})
    assert [type(outcome) for outcome in outcomes] == [Failed, Kept]
