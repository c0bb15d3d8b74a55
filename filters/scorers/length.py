"""How long a response is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..columns import text_column

if TYPE_CHECKING:
    import pyarrow as pa


def length(table: pa.Table) -> Mapping[str, pa.Array]:
    """``response_words``, ``response_chars`` and, where ``completion_tokens`` is there, ``response_tokens``.

    All int64. Words are runs of anything but white space; characters are code points; tokens are
    the model's own. Null where the response is. Raises DataError where there is no ``response``.
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
