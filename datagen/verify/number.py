"""``verify: number``: the final number of a worked solution against a reference."""

from __future__ import annotations

from typing import Any, ClassVar

from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..parsers.final_number import Find, Number, final_number
from .answer_verifier import AnswerVerifier, reference_text


class VerifyNumber(AnswerVerifier):
    """Compares the final number of a worked solution with the correct one, exactly.

    The answer is the number after the last ``####``, ``\\boxed{}``, "answer is" or "answer:". Numbers are
    parsed as exact fractions, with commas, currencies, percent signs, units, trailing zeros, fractions (also
    in LaTeX), mixed numbers and powers of ten. A row fails without text to judge, or without a number in its
    reference.

    Adds:
        passed (bool): whether the two numbers are equal.
        found (text): the number in canonical form; null if there is none. `select: vote` counts it.
        reason (text): why it did not pass; null if it did.

    Example:
        checked: {verify: number, from: solutions, answer: answer}
    """

    what: ClassVar[str] = "number"

    response: str = "response"
    """Column with the solution to judge."""
    answer: str = "answer"
    """Column with the correct answer: a number, or a worked solution in the same forms (those of GSM8K end
    with
    `#### 42`)."""
    find: Find = "last"
    """`marked` uses only a number that the text marks as its answer; `last` falls back to its last number."""

    async def judge(self, row: Row) -> Outcome:
        response = row.get(self.response)
        if not isinstance(response, str):
            return Failed(f"column {self.response!r} {self.found_in(row, self.response)}; text is required")
        reference = _reference(row.get(self.answer))
        if reference is None:
            return Failed(f"column {self.answer!r} {self.found_in(row, self.answer)}; a number is required")
        number = final_number(response, self.find)
        if number is None:
            said = "no number is marked as the answer" if self.find == "marked" else "there is no number"
            return Kept({"passed": False, "found": None, "reason": said})
        passed = number.equals(reference)
        reason = None if passed else f"found {number.text}, expected {reference.text}"
        return Kept({"passed": passed, "found": number.text, "reason": reason})


def _reference(value: Any) -> Number | None:
    text = reference_text(value)
    return None if text is None else final_number(text)
