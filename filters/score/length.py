"""Length of a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..columns import text_column

if TYPE_CHECKING:
    import pyarrow as pa


def length(table: pa.Table) -> Mapping[str, pa.Array]:
    """Return ``response_words``, ``response_chars`` and, given ``completion_tokens``, ``response_tokens``.

    All are int64. Words are runs of characters other than white space; characters are code points; tokens are
    those of the model. Null if the response is null. Raises DataError if there is no column ``response``.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    responses = text_column(table, "response", "score: length")
    columns = {
        "response_words": pc.count_substring_regex(responses, pattern=r"[^\s\x0b\x1c-\x1f\x{85}\p{Z}]+"),
        "response_chars": pc.utf8_length(responses),
    }
    if "completion_tokens" in table.column_names:
        columns["response_tokens"] = table.column("completion_tokens")
    return {name: column.cast(pa.int64()) for name, column in columns.items()}
