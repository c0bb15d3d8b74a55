"""What the verifiers share that find an answer in a response and compare it with a reference."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from ...contracts.number_values import NUMBERS
from ...contracts.operators import Apply, Map
from ...contracts.outcomes import Outcome
from ...contracts.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


class AnswerVerifier(Map):
    """Adds ``passed``, ``found`` (the answer, null if there is none) and ``reason``.

    A subclass overrides :meth:`judge`, and says in its fields what the two columns may hold.
    """

    makes_rows: ClassVar[bool] = False
    #: What is compared, for the summary.
    what: ClassVar[str] = "answer"

    response: str = "response"
    """Column with the response to judge."""
    answer: str = "answer"
    """Column with the correct answer."""

    def uses_columns(self) -> Sequence[str]:
        return (self.response, self.answer)

    def uses_text(self) -> Sequence[str]:
        return (self.response,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"passed": pa.bool_(), "found": pa.string(), "reason": pa.string()}

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """The number of rows that passed, that had a different answer, and that had none."""
        import pyarrow.compute as pc

        passed = int(pc.sum(table["passed"]).as_py() or 0)
        none = int(table["found"].null_count)
        other = table.num_rows - passed - none
        return {"passed": passed, f"another {self.what}": other, f"no {self.what}": none}

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[outcome] for outcome in await asyncio.gather(*map(self.judge, rows))]

        return apply

    @abstractmethod
    async def judge(self, row: Row) -> Outcome:
        """Compare the answer in a row with its reference."""

    def found_in(self, row: Row, column: str) -> str:
        """Say what a column holds that is not what is required."""
        if column not in row:
            return "is missing"
        value = row[column]
        text = f"text without {'an' if self.what[0] in 'aeio' else 'a'} {self.what}"
        return f"holds {text if isinstance(value, str) else type(value).__name__}"


def reference_text(value: object) -> str | None:
    """Return a correct answer as text: a text or a number. None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, *NUMBERS)):
        return None
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
