"""``verify: number``: the final number of a worked solution against a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...contracts.operators import Apply, Failed, Kept, Map, Outcome
from ...contracts.rows import Row
from ..parsers.final_number import Find, Number, final_number

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context


class VerifyNumber(Map):
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

    makes_rows: ClassVar[bool] = False

    response: str = "response"
    """Column with the solution to judge."""
    answer: str = "answer"
    """Column with the correct answer: a number, or a worked solution in the same forms (those of GSM8K end
    with
    `#### 42`)."""
    find: Find = "last"
    """`marked` uses only a number that the text marks as its answer; `last` falls back to its last number."""

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"passed": pa.bool_(), "found": pa.string(), "reason": pa.string()}

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """The number of rows that passed, that had a different number, and that had none."""
        import pyarrow.compute as pc

        passed = int(pc.sum(table["passed"]).as_py() or 0)
        none = int(table["found"].null_count)
        return {"passed": passed, "another number": table.num_rows - passed - none, "no number": none}

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[self._row(row)] for row in rows]

        return apply

    def _row(self, row: Row) -> Outcome:
        response = row.get(self.response)
        if not isinstance(response, str):
            return Failed(f"column {self.response!r} {_found(row, self.response)}; text is required")
        reference = _reference(row.get(self.answer))
        if reference is None:
            return Failed(f"column {self.answer!r} {_found(row, self.answer)}; a number is required")
        number = final_number(response, self.find)
        if number is None:
            said = "no number is marked as the answer" if self.find == "marked" else "there is no number"
            return Kept({"passed": False, "found": None, "reason": said})
        passed = number.equals(reference)
        reason = None if passed else f"found {number.text}, expected {reference.text}"
        return Kept({"passed": passed, "found": number.text, "reason": reason})


def _reference(value: Any) -> Number | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    return final_number(str(value))


def _found(row: Row, column: str) -> str:
    if column not in row:
        return "is missing"
    value = row[column]
    return "holds text without a number" if isinstance(value, str) else f"holds {type(value).__name__}"
