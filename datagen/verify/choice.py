"""``verify: choice``: the option that an answer chooses against the correct one."""

from __future__ import annotations

import string
from typing import Any, ClassVar

from pydantic import Field

from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..parsers.chosen_option import chosen_option
from .answer_verifier import AnswerVerifier


class VerifyChoice(AnswerVerifier):
    """Compares the option that an answer to a multiple-choice question chooses with the correct one.

    The choice is in the last ``\\boxed{}``, else in the last phrase that chooses ("the answer is (B)",
    "Answer: B", "option B is correct", `#### B`), else an answer or last line that is an option alone. An
    answer that chooses none of the options does not pass. A row fails without text to judge, or with a
    reference that is no option.

    Adds:
        passed (bool): whether the correct option is chosen.
        found (text): the letter chosen, in upper case; null if there is none. `select: vote` counts it.
        reason (text): why it did not pass; null if it did.

    Example:
        checked: {verify: choice, from: answers, answer: label, options: 4}
    """

    what: ClassVar[str] = "option"

    response: str = "response"
    """Column with the answer to judge."""
    answer: str = "answer"
    """Column with the correct option: its letter, or its number as an integer."""
    options: int = Field(5, ge=2, le=26)
    """Number of options. Their letters begin with A."""
    first: int = Field(0, ge=0, le=1)
    """Number of the first option, if the correct one is given as a number: 0 or 1."""

    async def judge(self, row: Row) -> Outcome:
        letters = string.ascii_uppercase[: self.options]
        response = row.get(self.response)
        if not isinstance(response, str):
            return Failed(f"column {self.response!r} {self.found_in(row, self.response)}; text is required")
        correct = self._letter(row.get(self.answer), letters)
        if correct is None:
            found = f"holds {row[self.answer]!r:.60}" if self.answer in row else "is missing"
            last = self.first + self.options - 1
            return Failed(
                f"column {self.answer!r} {found}; a letter from A to {letters[-1]} or a number from "
                f"{self.first} to {last} is required (`options`, `first`)"
            )
        chosen = chosen_option(response, letters)
        if chosen == correct:
            return Kept({"passed": True, "found": chosen, "reason": None})
        reason = "no option is chosen" if chosen is None else f"chose {chosen}, expected {correct}"
        return Kept({"passed": False, "found": chosen, "reason": reason})

    def _letter(self, given: Any, letters: str) -> str | None:
        if isinstance(given, str):
            letter = given.strip().strip("().").upper()
            if letter in letters and len(letter) == 1:
                return letter
            given = int(letter) if letter.isascii() and letter.isdigit() and len(letter) < 3 else None
        if isinstance(given, bool) or not isinstance(given, int):
            return None
        place = given - self.first
        return letters[place] if 0 <= place < len(letters) else None
