"""The functions that a model may call, as rows and pipeline files give them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError
from ...contracts.rows import Row, without_nulls

if TYPE_CHECKING:
    import pyarrow as pa


def tools_in(row: Row, column: str) -> str | None:
    """Return the tools in a column of a row as JSON text; None if it has none.

    The column holds a list, or JSON text of one. Raises DataError if it holds something else.
    """
    given = row.get(column)
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise DataError(f"its {column!r} are text that is not JSON ({error})") from None
    return tools_text(without_nulls(given)) if given else None


def tools_text(tools: Any) -> str:
    """Return a list of tools as JSON text, each in OpenAI's form; a bare function is put into that form.

    Raises DataError for what is no list of functions, each with a name.
    """
    if not isinstance(tools, Sequence) or isinstance(tools, str) or not tools:
        raise DataError("the tools are no list of functions")
    return json.dumps([_tool(tool) for tool in tools], ensure_ascii=False)


def _tool(given: Any) -> dict[str, Any]:
    function = given.get("function", given) if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise DataError(f"a tool is no function with a name, but {given!r:.60}")
    return given if "function" in given else {"type": "function", "function": given}


def call_type() -> pa.DataType:
    """The Arrow type of a call of a tool."""
    import pyarrow as pa

    text = pa.string()
    function = pa.struct([("name", text), ("arguments", text)])
    return pa.struct([("id", text), ("type", text), ("function", function)])
