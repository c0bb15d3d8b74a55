"""``verify: choice``: the option that an answer chooses against the correct one."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...contracts.operators import Apply, Failed, Kept, Map, Outcome
from ...contracts.rows import Row
from ..parsers.chosen_option import chosen_option

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context


class VerifyChoice(Map):
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

    makes_rows: ClassVar[bool] = False

    response: str = "response"
    """Column with the answer to judge."""
    answer: str = "answer"
    """Column with the correct option: its letter, or its number as an integer."""
    options: int = Field(5, ge=2, le=26)
    """Number of options. Their letters begin with A."""
    first: int = Field(0, ge=0, le=1)
    """Number of the first option, if the correct one is given as a number: 0 or 1."""

    def uses_columns(self) -> Sequence[str]:
        return (self.response, self.answer)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"passed": pa.bool_(), "found": pa.string(), "reason": pa.string()}

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """The number of rows that passed, that chose another option, and that chose none."""
        import pyarrow.compute as pc

        passed = int(pc.sum(table["passed"]).as_py() or 0)
        none = int(table["found"].null_count)
        return {"passed": passed, "another option": table.num_rows - passed - none, "no option": none}

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[self._row(row)] for row in rows]

        return apply

    def _row(self, row: Row) -> Outcome:
        letters = string.ascii_uppercase[: self.options]
        response = row.get(self.response)
        if not isinstance(response, str):
            found = f"holds {type(response).__name__}" if self.response in row else "is missing"
            return Failed(f"column {self.response!r} {found}; text is required")
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
