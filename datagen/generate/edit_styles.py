"""``generate: edit_styles``: one ``CodeEdit`` row per style in which an edit is requested."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, PositiveInt, model_validator

from ...contracts.inference import derive_seed
from ...contracts.operators import Apply, Estimate, Map
from ...contracts.outcomes import Filtered, Kept, Outcome
from ...contracts.rows import Row
from ..edits.bug_instructions import STYLES
from ..edits.diffs import applied, unified

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


class EditStyles(Map):
    """Makes one row per style in which a code edit is requested.

    The styles are those of NextCoder (Aggarwal et al., arXiv 2503.03656): detailed, concise, human and
    conversational. Styles without a text are skipped, and two styles with the same text count once.

    Adds:
        before (text): code before the edit.
        after (text): code after it.
        diff (text): unified diff between the two.
        instructions (struct of texts): request in each style.
        style (text): style of this row.
        instruction (text): request in that style.

    Filters:
        no_instruction: the row has no text in any style.
        no_edit: the row lacks the code before or after.

    Example:
        asked: {generate: edit_styles, from: edits, most: 2}
    """

    makes_rows: ClassVar[bool] = True
    seeded: ClassVar[bool] = True

    before: str = "before"
    """Column with the code before the edit."""
    after: str = "after"
    """Column with the code after it."""
    columns: dict[str, str] | None = None
    """Columns with the requests, as `{STYLE: COLUMN}`. By default they are the fields of the column
    `instructions`."""
    most: PositiveInt = Field(default=1, le=len(STYLES))
    """Maximum number of rows per edit, each in a different style."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for style in self.columns or ():
            if style not in STYLES:
                raise ValueError(f"unknown style {style!r}; known: {', '.join(STYLES)}")
        return self

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows * self.most)

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        text = pa.string()
        return {
            **dict.fromkeys(("before", "after", "diff", "style", "instruction"), text),
            "instructions": pa.struct([(style, text) for style in STYLES]),
        }

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def open(self, context: Context) -> Apply:
        seed = context.seed

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [self._made(row, derive_seed(seed, row["_id"], "styles")) for row in rows]

        return apply

    def _made(self, row: Row, draw: int) -> list[Outcome]:
        before, after = row.get(self.before), row.get(self.after)
        if not isinstance(before, str) or not isinstance(after, str):
            return [Filtered("no_edit")]
        texts = self._texts(row)
        distinct = {text: style for style, text in reversed(texts.items())}
        styles = [style for style in texts if distinct[texts[style]] == style]
        if not styles:
            return [Filtered("no_instruction")]
        diff = unified(before, after)
        assert applied(diff, before) == after
        edit: Row = {"before": before, "after": after, "diff": diff, "instructions": texts}
        random.Random(draw).shuffle(styles)
        return [Kept({**edit, "style": style, "instruction": texts[style]}) for style in styles[: self.most]]

    def _texts(self, row: Row) -> dict[str, str]:
        if self.columns is None:
            given = row.get("instructions") or {}
        else:
            given = {style: row.get(column) for style, column in self.columns.items()}
        found = {style: given.get(style) for style in STYLES}
        return {
            style: text.strip() for style, text in found.items() if isinstance(text, str) and text.strip()
        }
