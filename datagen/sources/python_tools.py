"""``source: python_tools``: the functions of a Python file as tools for models, parsed but never run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.mistakes import at
from ...contracts.operators import Estimate, Source
from ..tools.signatures import functions_in, tool_of
from ..tools.source_file import digest_of, source_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


class PythonTools(Source):
    """Reads the functions of a Python file as tools, one row each.

    Each public function at the top level is a tool. Its schema is read from its source: the types from the
    annotations (`str`, `int`, `float`, `bool`, `None`, `list[...]`, `dict[str, ...]`, `Literal[...]`,
    `Optional`, `Union`, `X | Y`; without one, any type), what is optional from the defaults, and the
    descriptions from the docstring in Google's, NumPy's or Sphinx's style. Nothing is imported or run.
    `verify: tool_calls` calls the tools of the same file.

    Adds:
        name (text): name of the function.
        description (text): what it does, from its docstring.
        tool (text): the tool in OpenAI's form with the JSON Schema of its arguments, as JSON text.

    Example:
        tools: {source: python_tools, path: my_tools.py}
    """

    path: str
    """Python file with the functions; `gristmill:seeds/tools.py` is packaged. Relative paths start at the
    current directory."""

    def content(self) -> Mapping[str, str]:
        return {self.path: digest_of(self.path)}

    def inspect(self) -> None:
        with at("path"):
            self._rows()

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=len(self._rows()))

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return ("name", "description", "tool")

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        schema = pa.schema([(name, pa.string()) for name in ("name", "description", "tool")])
        yield pa.RecordBatch.from_pylist(self._rows(), schema=schema)

    def _rows(self) -> list[dict[str, str]]:
        """Return the rows. Raises DataError if the file has no tools, or one without a schema."""
        tools = [tool_of(function) for function in functions_in(source_of(self.path), self.path)]
        if not tools:
            raise DataError(f"{self.path}: it has no tools: each public function at its top level is one")
        return [
            {
                "name": tool["function"]["name"],
                "description": tool["function"]["description"],
                "tool": json.dumps(tool, ensure_ascii=False),
            }
            for tool in tools
        ]
