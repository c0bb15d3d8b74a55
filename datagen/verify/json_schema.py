"""``verify: json_schema``: whether a response is JSON that a schema accepts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...contracts.errors import DataError
from ...contracts.operators import Apply, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..execution.limited_processes import CallLimitReached, LimitedProcesses, shared

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


class VerifyJsonSchema(Map):
    """Checks whether a response is JSON that a JSON Schema (draft 2020-12) accepts.

    The whole response must be JSON, or hold exactly one fenced block, which must be. NaN, infinities and
    repeated keys are not JSON. References to other documents are not fetched: what needs them does not pass.
    A response that takes too long to judge, as a pattern that backtracks may, does not pass. A row fails
    without text to judge, or with an invalid schema.

    Adds:
        passed (bool): whether the schema accepts the response.
        found (text): the JSON value, compact and with sorted keys; null if there is none.
        reason (text): where and why it did not pass; null if it did.

    Example:
        checked: {verify: json_schema, from: answers, schema: {type: object, required: [name]}}
    """

    makes_rows: ClassVar[bool] = False

    response: str = "response"
    """Column with the response to judge."""
    json_schema: Mapping[str, Any] | None = Field(None, alias="schema")
    """The schema of all rows. By default each row has its own."""
    schema_column: str = "schema"
    """Column with the schema of each row, as JSON text. Only used without `schema`."""
    seconds: PositiveInt = 5
    """Maximum processor time of a response, in seconds."""
    memory_mib: PositiveInt = 1024
    """Maximum memory of a response, in MiB."""

    def inspect(self) -> None:
        from .accepted_json import validator

        if self.json_schema is not None:
            validator(dict(self.json_schema))

    def uses_columns(self) -> Sequence[str]:
        return (self.response, *([] if self.json_schema is not None else [self.schema_column]))

    def uses_text(self) -> Sequence[str]:
        return (self.response,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"passed": pa.bool_(), "found": pa.string(), "reason": pa.string()}

    def open(self, context: Context) -> Apply:
        given = None if self.json_schema is None else json.dumps(dict(self.json_schema))
        module = f"{__package__}.accepted_json"
        processes = shared(module, "judge", seconds=self.seconds, memory=self.memory_mib << 20)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [
                [each] for each in await asyncio.gather(*(self._row(row, given, processes) for row in rows))
            ]

        return apply

    async def _row(self, row: Row, given: str | None, processes: LimitedProcesses) -> Outcome:
        response = row.get(self.response)
        if not isinstance(response, str):
            found = f"holds {type(response).__name__}" if self.response in row else "is missing"
            return Failed(f"column {self.response!r} {found}; text is required")
        try:
            schema = given or self._schema_of(row)
        except DataError as error:
            return Failed(error.message)
        try:
            told = await processes.call(response=response, schema=schema)
        except CallLimitReached as reached:
            reason = f"it cannot be judged: {reached.message}"
            return Kept({"passed": False, "found": None, "reason": reason})
        if "invalid" in told:
            return Failed(told["invalid"])
        return Kept({"passed": told["reason"] is None, "found": told["found"], "reason": told["reason"]})

    def _schema_of(self, row: Row) -> str:
        """Return the schema of a row, as JSON text. Raises DataError if it has none."""
        text = row.get(self.schema_column)
        try:
            schema = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError) as error:
            raise DataError(f"column {self.schema_column!r} holds text that is not JSON ({error})") from None
        if not isinstance(text, str) or not isinstance(schema, dict):
            found = "is missing" if self.schema_column not in row else "holds no object as JSON text"
            raise DataError(f"column {self.schema_column!r} {found}; a JSON Schema is required")
        return text
