"""Multiple choice: the option in its usual phrasings, and none where none is chosen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gristmill.datagen.parsers.chosen_option import chosen_option
from gristmill.datagen.verify.choice import VerifyChoice


@pytest.mark.parametrize(
    "text",
    [
        "B",
        "(B)",
        "B.",
        "**B**",
        "B) Paris",
        "B. Paris is the capital.",
        "The answer is B.",
        "the answer is (b)",
        "The correct answer is: **B**",
        "The correct answer is option B, as A is too small.",
        "The best choice would be B",
        "Answer: B",
        "ANSWER: (B) Paris",
        "**Answer:** B",
        "Final answer: $B$",
        "#### B",
        r"So \boxed{B}.",
        r"\boxed{\text{(B)}}",
        "I choose B.",
        "I would go with (B).",
        "Option B is correct.",
        "(B) is the correct one: so is its sum.",
        "A is too small. The answer is A. No, wait: the answer is B.",
        "A is too small.\nC is too large.\n\nB",
        "A) 1\nB) 2\nC) 3\n\nThe answer is B",
        "The answer is not A. The answer is B.",
        "I think the answer is B.\nIn short, the answer is a\nsimple one.",
        "The answer is B, while a common choice is a, which fails",
        "The answer is B, A is too small.",
        "The answer is B and A is too small.",
        "The answer is B and not C.",
        "The answer is B, I think.",
        "The answer is B, A Tale of Two Cities.",
    ],
)
def test_the_usual_phrasings(text: str) -> None:
    assert chosen_option(text, "ABCD") == "B"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I do not know.",
        "A dog is an animal.",
        "The answer is a dog.",
        "The answer is Berlin.",
        "The answer is E.",
        r"\boxed{5}",
        "A) 1\nB) 2\nC) 3\nD) 4",
        "The answer is not B.",
        "I don't think the answer is B.",
        "Answer: a, b",
        "Answer: a / c",
        "Answer: A or B",
        "The answer is B and C",
        "The answer is (B) and (C), because both are red.",
        "The answer is B, C, and D.",
        "The answer is B. No: the answer is a or c.",
        r"\boxed{B, C}",
        "b",
    ],
)
def test_no_option_is_chosen(text: str) -> None:
    assert chosen_option(text, "ABCD") is None


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("The answer is {} because it is red.", True),
        ("The correct answer is {} since x", True),
        ("I choose {} as it is best", True),
        ("the answer is {} and not C", True),
        ("The answer is {}, because it is red.", True),
        ("The answer is {} given the data", True),
        ("The answer is {} and that is all.", True),
        ("The answer is {}.", True),
        ("The answer is {}", True),
        ("Answer: {}\n", True),
        ("Answer: {}\n\nit is red", True),
        ("Answer: {}\nReason: it is red", True),
        ("Option {} is correct.", True),
        ("The answer is {} dog", False),
        ("The answer is {} given number", False),
        ("Answer: {} for loop", False),
        ("Answer: {} while loop", False),
        ("The answer is {} by-product", False),
    ],
)
def test_an_option_a_is_told_from_the_article(text: str, chosen: bool) -> None:
    assert chosen_option(text.format("B"), "ABCD") == "B"
    assert chosen_option(text.format("A"), "ABCD") == ("A" if chosen else None)
    if not text.startswith("Option"):
        assert chosen_option(text.format("a"), "ABCD") == ("A" if chosen else None)


def test_an_option_i_is_told_from_the_pronoun() -> None:
    letters = "ABCDEFGHI"
    assert chosen_option("The answer is I because it is red.", letters) == "I"
    assert chosen_option("The answer is I think it is red.", letters) is None
    assert chosen_option("The answer is i think", letters) is None


def test_rows() -> None:
    def judged(operator: VerifyChoice, **row: Any) -> Any:
        [[outcome]] = asyncio.run(operator.open(None)([{"_id": "r", **row}]))  # type: ignore[arg-type]
        return outcome

    four = VerifyChoice(options=4)
    assert judged(four, response="Answer: C", answer=2).row == {"passed": True, "found": "C", "reason": None}
    assert judged(four, response="Answer: C", answer="(c)").row["passed"]
    assert judged(VerifyChoice(options=4, first=1), response="Answer: C", answer="3").row["passed"]
    assert judged(four, response="Answer: C", answer="D").row["reason"] == "chose C, expected D"
    assert judged(four, response="Perhaps.", answer="D").row["reason"] == "no option is chosen"
    assert (
        judged(four, response=None, answer="D").error == "column 'response' holds NoneType; text is required"
    )
    for wrong in (4, -1, True, "E", "", None, 1.0):
        assert (
            "a letter from A to D or a number from 0 to 3" in judged(four, response="A", answer=wrong).error
        )
