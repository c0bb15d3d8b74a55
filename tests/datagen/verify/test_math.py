"""Answers compared as mathematics: equal in any form, and never by accident."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.parsers.final_answer import bare_answer, final_answer
from gristmill.datagen.verify import same_mathematics
from gristmill.datagen.verify.answer_verifier import reference_text
from gristmill.datagen.verify.math import VerifyMath
from gristmill.datagen.verify.same_mathematics import compare

EQUAL = [
    (r"3\sqrt{2}", r"3\sqrt{2}"),
    ("x+1", "1+x"),
    (r"\frac{1}{2}", "0.5"),
    ("1/2", r"\frac12"),
    ("[0,1)", "[0,1)"),
    (r"(-\infty, 3]", r"\left(-\infty,3\right]"),
    (r"\{1,2\}", r"\{2,1\}"),
    ("1,2", "2,1"),
    (r"5\text{ cm}", "5"),
    (r"5\text{ cm}", "5 cm"),
    ("5 centimeters", r"5\text{ cm}"),
    (r"50\%", "50"),
    (r"50\%", "0.5"),
    ("12.5%", "12.5"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"),
    (r"\text{Evelyn}", "Evelyn"),
    (r"\text{(A)}", "A"),
    ("1,234", "1234"),
    ("1{,}234", "1234"),
    (r"\$1,234.50", "1234.5"),
    (r"10,\!000", "10000"),
    (r"(2, 12) \cup (12, 102)", r"(2,12)\cup(12,102)"),
    ("x=5", "5"),
    ("5", "x=5"),
    (r"2\frac{1}{3}", r"\frac{7}{3}"),
    ("2 1/3", "7/3"),
    (r"-2\frac{1}{3}", r"-\frac{7}{3}"),
    (r"90^\circ", "90"),
    ("(1,2)", "(1, 2)"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    (r"\sin^2 x+\cos^2 x", "1"),
    ("(x+1)^2", "x^2+2x+1"),
    ("y=2x+1", "2x+1"),
    ("x<3", "3>x"),
    (r"x \in (1,2)", "(1,2)"),
    (r"(1,2)\cup(3,4)", r"(3,4)\cup(1,2)"),
    ("12 apples", "12"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
    ("2+3i", "3i+2"),
    (r"\pi r^2", r"r^2\pi"),
    ("10^{-3}", "0.001"),
    (r"2.5\times 10^3", "2500"),
    (r"\dfrac{3}{4}", r"\tfrac34"),
    ("e^{2}", "e^2"),
    (r"36 \text{ square units}", "36"),
    (r"6\text{ m}^2", r"6\text{ square meters}"),
    (r"-\infty", r"-\infty"),
    (r"\emptyset", r"\emptyset"),
    (r"\log_2 8", "3"),
    ("5!", "120"),
    (r"\binom{5}{2}", "10"),
    (r"1\le x\le 2", "[1,2]"),
    (r"x=1 \text{ or } x=2", "1,2"),
    ("4210_{5}", "4210"),
    ("4210_{5}", "4210_5"),
    ("4210_{5}", r"4210_{\text{five}}"),
    ("58{,}500_6", "58500_{6}"),
    (r"\{10_2, 11_2\}", r"\{11_2, 10_2\}"),
    ("12 m", "12"),
    ("12 g", "12"),
    ("12 L", "12 liters"),
    ("12 s", "12"),
    ("12.5 h", "12.5"),
    ("12 m^2", "12 square meters"),
    (r"\frac{1}{2} m", "1/2"),
    ("1,200 m", "1200"),
    ("v = 12 m", "12"),
    ("12 m", "12 m"),
    ("12 m", "12m"),
    ("12m", "12m"),
    ("12 m^2", "12m^2"),
]
UNEQUAL = [
    ("10^{-40}", r"2\cdot 10^{-40}"),
    ("(0.0000000000000000001, 1)", "(0.0000000000000000002, 1)"),
    ("x+1", "2x+1"),
    (r"5\pi", "5"),
    ("5", r"5\pi"),
    ("[0,1]", "[0,1)"),
    ("(0,1)", "[0,1]"),
    (r"\{1,2\}", r"\{1,3\}"),
    (r"\{1,2\}", r"\{1,2,3\}"),
    ("1/3", "0.33"),
    ("0.333333", "1/3"),
    ("3.14", r"\pi"),
    ("3.141593", r"\pi"),
    ("0.0000001", "0.0000002"),
    ("10^{-20}", r"2\cdot 10^{-20}"),
    ("-5", "5"),
    ("5", "-5"),
    (r"-\frac{1}{2}", r"\frac12"),
    ("5 cm", "5 m"),
    (r"5\text{ cm}^2", r"5\text{ cm}^3"),
    (r"50\%", "5"),
    (r"0.5\%", "50%"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ("Evelyn", "Alice"),
    ("1,234", "1.234"),
    ("1,234", "234"),
    ("x=5", "y=5"),
    (r"2\frac13", r"\frac23"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", r"\{1,2\}"),
    ("2,1", "(1,2)"),
    ("1,2", "(2,1)"),
    ("(1,2)", "1,2"),
    (r"\sqrt{2}", "1.41421356"),
    ("x<3", "x>3"),
    (r"x\le 3", "x<3"),
    ("x^2", "x^3"),
    ("2x", "2y"),
    ("x", "y"),
    ("2+3i", "2-3i"),
    ("100", "1000"),
    ("1e3", "1e4"),
    (r"\frac{a}{b}", r"\frac{b}{a}"),
    ("2 xy", "2"),
    ("2xy", "2"),
    ("5m", "5"),
    ("5x", "5"),
    (r"1\}", "1"),
    ("e", "e+1"),
    (r"\infty", r"-\infty"),
    (r"30^\circ", r"30\text{ radians}"),
    (r"20^\circ C", r"20^\circ F"),
    (r"\text{yes}", r"\text{no}"),
    ("12 apples", "13 apples"),
    (r"\text{even}", "even number"),
    ("2^{10}", "2^{11}"),
    ("1+1=3", "2"),
    ("x=1,y=2", "x=2,y=1"),
    (r"\{(1,2)\}", r"\{(2,1)\}"),
    ("[1,2]", "[2,1]"),
    ("7/4", "74"),
    ("1.0.0", "1"),
    ("3 or 4", "3"),
    ("3 or 4", "4"),
    ("about 5", "5"),
    ("5 to 6", "5"),
    (r"\ne 5", "5"),
    (r"x\ne5", "x=5"),
    (r"5 \text{ or } 6", "6"),
    ("not 5", "5"),
    ("5,6", "6"),
    ("56", "5,6"),
    (r"12 \text{ pairs}", r"12 \text{ triples}"),
    ("4210_{7}", "4210_{5}"),
    ("4210_7", r"4210_{\text{five}}"),
    ("101_2+1", "101_3+1"),
    ("4D5_{13}", "4D5_{14}"),
    ("4210_{5}", "4211"),
    ("12 m", "12 s"),
    ("12 m", "12 cm"),
    ("12 m", "12 m^2"),
    ("12 m", "13"),
    ("12 x", "12"),
    ("x + 12 m", "x + 12"),
]
UNREADABLE = [
    "",
    "?",
    "{",
    "}",
    r"\foo{1}",
    r"\frac{1}{0}",
    "((((",
    r"\begin{matrix",
    "= =",
    "1 +",
    "\0",
    "\ud800",
]


def verified(operator: VerifyMath, *rows: dict[str, Any]) -> list[Any]:
    apply = operator.open(None)  # type: ignore[arg-type]
    found = asyncio.run(apply([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))
    return [outcome for [outcome] in found]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_in_any_form(one: str, other: str) -> None:
    assert compare(one, other, None)["passed"]
    assert compare(other, one, None)["passed"]


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_nothing_passes_by_accident(one: str, other: str) -> None:
    assert not compare(one, other, None)["passed"]
    assert not compare(other, one, None)["passed"]


def test_terms_in_another_order_need_no_simplification(monkeypatch: pytest.MonkeyPatch) -> None:
    def simplified(*_: Any, **__: Any) -> bool:
        raise AssertionError("a comparison that may take seconds is not needed")

    monkeypatch.setattr(same_mathematics, "verify", simplified)
    one = r"\frac{\sqrt{\sqrt{11}+\sqrt{194}}}{15+2\sqrt{33}}"
    other = r"\frac{\sqrt{\sqrt{194}+\sqrt{11}}}{2\sqrt{33}+15}"
    assert compare(one, other, None)["passed"]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_parsed_does_not_pass_against_itself(text: str) -> None:
    assert compare(text, text, None) == {"passed": False, "found": None, "readable": False}


def test_decimals_round_where_that_is_asked() -> None:
    assert compare("3.142", r"\pi", 3)["passed"]
    assert not compare("3.143", r"\pi", 3)["passed"]
    assert compare("0.333", r"\frac13", 3)["passed"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so $x=\boxed{\frac{1}{2}}$, which makes it \boxed{\{1, 2\}}.", r"\{1, 2\}"),
        ("we add 5.\n#### 2x+1", "2x+1"),
        (r"The final answer is $3\sqrt{2}$. I hope it is correct.", r"3\sqrt{2}"),
        (r"**Answer:** \(x^2\)", "x^2"),
        (r"First $1$, then $x+1$.", "x+1"),
        (r"5\pi", r"5\pi"),
        ("That leaves 12 of the many apples.", "12"),
        (r"so $\boxed{1}$ \text{ and } $\boxed{2}$.", "1, 2"),
        (r"First \boxed{1}. After some more work we find \boxed{2}.", "2"),
        ("Final answer: The volume of $ABC$ is 120. I hope it is correct.", "120"),
        ("Answer: Jane has seen 3 of them.", "3"),
        ("The answer is 5, not 6.", "5"),
        ("The answer is 18, which is 9 times 2.", "18"),
        ("The answer is 18 dollars, as she sells 9 eggs at 2 dollars each.", "18 dollars"),
        ("The answer is 18 dollars that she makes with 9 eggs.", "18 dollars"),
        ("The answer is 18 dollars each day from 9 eggs.", "18"),
        ("The answer is 5 if x is 3.", "5"),
        ("The final answer is 42 (6 times 7).", "42"),
        ("#### 18 (9 eggs at 2 dollars)", "18"),
        ("The answer is 3 + 4 = 7 apples for her, not 9.", "7"),
        ("The answer is 2x + 1 for any x.", "2x + 1"),
        ("The answer is 2 sin x.", "2 sin x"),
        ("The answer is $5, as she has $6.", "$5"),
        ("Answer: x = 5, because 6 is even", "x = 5"),
        ("Answer: the volume, which is 9 times 2, is 18.", "18"),
        ("Answer: f(x) is 2x + 1", "2x + 1"),
        ("Answer: So she needs 40 / 10 = 4 packs of 10 cakes.", "4"),
        ("Answer: Evelyn, because she is the tallest", "Evelyn"),
        ("The answer is (1, 2), since 2 is the larger.", "(1, 2)"),
        ("The answers are 2 and 3.", "2, 3"),
        ("The answers are 1, 2, and 3, since 4 is none.", "1, 2, 3"),
        ("The answers are $2$ and $3$.", "2, 3"),
        ("The answer is $2$ and $x$ is 3.", "2"),
        ("The answer is 5. I hope that both answers are clear.", "5"),
        (r"The final answer is $\frac{3}{4}$ or $75\%$.", r"\frac{3}{4}"),
        (r"The answer is $2\pi$, or $6.28$.", r"2\pi"),
        ("The answer is 1/2, or 0.5.", "1/2"),
        ("The answer is 2.5 or 3.", "2.5, 3"),
        (r"The answer is $x<3$ or $x>5$.", "x<3, x>5"),
        (r"The answer is $x < 3$, or $(-\infty, 3)$.", "x < 3"),
        ("The answer is x = 5 or x = 6.", "x = 5, x = 6"),
        ("The answer is 2 or 3 apples.", "2, 3 apples"),
        ("The answer is 2 dozen, or 24.", "24"),
        ("The answer is 5 times 4, or 20.", "20"),
        ("The answer is 4 apples and 3 pears, so 7.", "7"),
        ("The answer is 10 minus 3, which is 7.", "7"),
        ("The answer is 10% of 50, which is 5.", "5"),
        ("The answer is x(x+1), since this is the factorization.", "x(x+1)"),
        ("The answer is y = 2x + 1, where x is the time.", "y = 2x + 1"),
        ("The answer is a^2 + b^2, where a is the base.", "a^2 + b^2"),
        ("The answer is x^2 (which is even).", "x^2"),
        ("The answer is x^2, which is even.", "x^2"),
        ("The answer is f(2), which is 5.", "5"),
        ("Answer: f(x) (the area) is 2x", "2x"),
        (r"so \boxed{\frac{1}{2", None),
        (r"\boxed{}", None),
        ("I do not know the result", None),
    ],
)
def test_where_the_answer_is(text: str, found: str | None) -> None:
    assert final_answer(text) == found


def test_a_reference_may_be_bare_or_a_solution() -> None:
    assert bare_answer("x = 5") == "x = 5"
    assert bare_answer(r"We get $\boxed{5\pi}$ at the end of it.") == r"5\pi"
    assert bare_answer("6 * 7 = 42 (eggs)\n#### 42 (6 times 7)") == "42"
    assert final_answer("First $1$, then $2$.", "marked") is None


def test_a_reference_may_be_a_decimal_which_sql_writes() -> None:
    (outcome,) = asyncio.run(VerifyMath().open(None)([  # type: ignore[arg-type]
        {"_id": "a", "response": r"\boxed{\frac{5}{2}}", "answer": Decimal("2.50")}
    ]))[0]  # fmt: skip
    assert isinstance(outcome, Kept)
    assert outcome.row["passed"]
    assert reference_text(Decimal("0.00000010")) == "0.00000010"
    assert reference_text(True) is None


def test_what_rows_are_told_from_any_thread_and_hostile_ones_cost_no_other() -> None:
    operator = VerifyMath(response="text", answer="gold")
    hasty = VerifyMath(response="text", answer="gold", seconds=1, memory_mib=256)
    rows = [
        {"text": r"\boxed{x+1}", "gold": "2x+1"},
        {"text": r"so it is \boxed{2x + 1}", "gold": "1+2x"},
        {"text": r"\boxed{\sqrt{}", "gold": "1"},
        {"text": r"\boxed{\frac{}{}}", "gold": "1"},
        {"text": None, "gold": "1"},
        {"text": "1", "gold": r"\frac{}{}"},
        {"text": "1", "gold": True},
        {"text": "1"},
    ]
    answers: list[Any] = []

    def judge() -> None:
        # Only what never ends has little time: a slow machine needs some of it for what is right.
        answers.extend(verified(hasty, {"text": r"\boxed{99999999!}", "gold": "7"}))
        answers.extend(verified(operator, *rows))

    worker = threading.Thread(target=judge)
    worker.start()
    worker.join()
    hostile, wrong, right, cut, unread, null, broken, unlike, missing = answers
    assert wrong.row == {"passed": False, "found": "x + 1", "reason": "found x+1, expected 2x+1"}
    assert right.row == {"passed": True, "found": "2*x + 1", "reason": None}
    assert cut.row == {"passed": False, "found": None, "reason": "there is no answer"}
    assert unread.row["passed"] is False
    assert "cannot be parsed as mathematics, expected 1" in unread.row["reason"]
    assert isinstance(hostile, Kept)
    told = "99999999! and 7 cannot be compared: it takes longer than 1 s"
    assert hostile.row == {"passed": False, "found": None, "reason": told}
    assert [each.error for each in (null, broken, unlike, missing)] == [
        "column 'text' holds NoneType; text is required",
        r"column 'gold' holds \frac{}{}, which cannot be parsed as mathematics",
        "column 'gold' holds bool; an answer is required",
        "column 'gold' is missing; an answer is required",
    ]
    assert all(isinstance(each, Failed) for each in (null, broken, unlike, missing))
    table = pa.Table.from_pylist([wrong.row, right.row, cut.row], schema=pa.schema(operator.types()))
    assert operator.summary(table) == {"passed": 1, "another answer": 1, "no answer": 1}
