"""``verify: quote``: whether a quotation stands in the text that it is said to be from, and where."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from ...contracts.operators import Apply, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from .quoted_places import quoted_places

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


class VerifyQuote(Map):
    """Looks for a quotation in the text that it is said to be from.

    The words must stand there in this order, whole and without others between them. Case, spaces, line
    breaks, the form of quotation marks and dashes, formatting of Markdown, and words that are divided at the
    end of a line make no difference; a word or a number is not cut. Where a quotation leaves something out
    ("…"), each part must stand there after the one before; where it has several lines, each must stand there.
    A row fails without text in one of the columns.

    Adds:
        passed (bool): whether all of it stands in the text.
        reason (text): why it did not pass; null if it did.
        quote_places (list of records): `start` and `stop` of each part in the text, in characters; the place
            in a document is that of the chunk and this one together. Null if it did not pass.

    Metrics:
        passed: number of rows that passed.

    Example:
        checked: {verify: quote, from: answers, quote: quote, text: text}
    """

    makes_rows: ClassVar[bool] = False
    batch_rows: ClassVar[int] = 64

    quote: str = "quote"
    """Column with the quotation: a text, or a list of texts of which each must stand in the text."""
    text: str = "text"
    """Column with the text that it is from."""
    min_words: PositiveInt = 3
    """Minimum number of words of each part. A shorter one proves nothing, and does not pass."""

    def uses_columns(self) -> Sequence[str]:
        return (self.quote, self.text)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else list(dict.fromkeys([*columns, *self.types()]))

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        place = pa.struct([("start", pa.int32()), ("stop", pa.int32())])
        return {"passed": pa.bool_(), "reason": pa.string(), "quote_places": pa.list_(place)}

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        import pyarrow.compute as pc

        return {"passed": int(pc.sum(table["passed"]).as_py() or 0)}

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return await asyncio.to_thread(lambda: [[self._judged(row)] for row in rows])

        return apply

    def _judged(self, row: Row) -> Outcome:
        given, text = row.get(self.quote), row.get(self.text)
        quotes = [given] if isinstance(given, str) else given
        if not isinstance(quotes, list) or not all(isinstance(each, str) for each in quotes):
            return Failed(f"the column {self.quote!r} holds no text or list of texts")
        if not isinstance(text, str):
            return Failed(f"the column {self.text!r} holds no text")
        places: list[dict[str, int]] = []
        for quote in quotes:
            found = quoted_places(quote, text, self.min_words)
            if isinstance(found, str):
                return Kept({"passed": False, "reason": found, "quote_places": None})
            places += [{"start": place.start, "stop": place.stop} for place in found]
        reason = None if places else "there is no quotation"
        return Kept({"passed": bool(places), "reason": reason, "quote_places": places or None})
