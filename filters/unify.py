"""``unify:`` adds the question and the answer of each row, whatever layout its data set has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from ..contracts.context import Context
from ..contracts.errors import DataError
from ..contracts.exchanges import ANSWERS, QUESTIONS, exchange
from ..contracts.operators import Apply, Map
from ..contracts.outcomes import Failed, Kept, Outcome
from ..contracts.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

#: The columns that are added.
ADDED = ("prompt_text", "response_text", "rejected_text", "layout")


class Unify(Map):
    """Adds the question and the answer of each row as texts, whatever layout its data set has.

    The layout of each row is found by its columns, as sources find it (`format: auto`): `messages` with role
    and content (OpenAI); `conversations` with from and value (ShareGPT); `instruction`, `input` and `output`
    (Alpaca); `chosen` and `rejected` beside a question or a conversation (preferences); or else a column with
    a question, such as `prompt` or `question`, and one with an answer, such as `response`, `answer` or
    `output`. All columns of the row stay as they are. A row in none of these layouts fails.

    Adds:
        prompt_text (text): all that comes before the last answer; the turns are separated by blank lines.
        response_text (text): the last answer, of a preference the chosen one. Null without an answer.
        rejected_text (text): the rejected answer of a preference; else null.
        layout (text): `messages`, `sharegpt`, `alpaca`, `preference`, `pair`, `prompt` (no answer), or one of
            OpenAI's files (`openai_batch`, `openai_log`).

    Example:
        rows: {unify: auto, from: data}
    """

    value_field: ClassVar[str | None] = "layout"

    layout: Literal["auto"] = "auto"
    """How the layout of a row is found: `auto`, by its columns."""

    reserve: tuple[str, ...] = ()
    """Columns that later steps add. Rows that have one of them, or one that `unify` adds, are refused: its
    values would be replaced."""

    def check_columns(self, columns: Sequence[str]) -> None:
        for name in (*ADDED, *self.reserve):
            if name in columns:
                adds = "`unify` adds" if name in ADDED else "a later step adds"
                raise DataError(
                    f"the rows already have a column {name!r}, which {adds}: rename it at the source with "
                    f"`rename: {{{name}: {name}_of_data}}`"
                )

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *ADDED]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return dict.fromkeys(ADDED, pa.string())

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            # Not every plan knows the columns.
            self.check_columns(list(rows[0]) if rows else ())
            return [[_unified(row)] for row in rows]

        return apply


def _unified(row: Row) -> Outcome:
    found = exchange(row)
    if found is None:
        own = sorted(name for name in row if not name.startswith("_"))
        return Failed(
            f"no question was found in the columns {', '.join(own)}: rename one to "
            f"{', '.join(QUESTIONS[:3])} (and an answer to {', '.join(ANSWERS[:3])}), or give `messages`"
        )
    values = (found.prompt, found.response, found.rejected, found.layout)
    return Kept(dict(zip(ADDED, values)))
