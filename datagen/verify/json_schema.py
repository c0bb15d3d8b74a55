"""``verify: json_schema``: whether a response is JSON that a schema accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...contracts.errors import DataError
from ...contracts.operators import Apply, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context

_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL | re.IGNORECASE)


class VerifyJsonSchema(Map):
    """Checks whether a response is JSON that a JSON Schema (draft 2020-12) accepts.

    The whole response must be JSON, or hold exactly one fenced block, which must be. NaN, infinities and
    repeated keys are not JSON. References to other documents are not fetched: such a schema fails. A row
    fails without text to judge, or with an invalid schema.

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

    def inspect(self) -> None:
        if self.json_schema is not None:
            _validator(dict(self.json_schema))

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
        given = None if self.json_schema is None else _validator(dict(self.json_schema))

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[self._row(row, given)] for row in rows]

        return apply

    def _row(self, row: Row, validator: Any) -> Outcome:
        response = row.get(self.response)
        if not isinstance(response, str):
            found = f"holds {type(response).__name__}" if self.response in row else "is missing"
            return Failed(f"column {self.response!r} {found}; text is required")
        try:
            validator = validator or _validator(self._schema_of(row))
        except DataError as error:
            return Failed(error.message)
        blocks = _FENCE.findall(response)
        try:
            value = _strict_json(blocks[0] if len(blocks) == 1 else response)
        except (ValueError, RecursionError) as error:
            return Kept({"passed": False, "found": None, "reason": f"it is not JSON: {error!s:.200}"})
        compact = json.dumps(value, sort_keys=True, separators=(",", ":"))
        reason = _first_error(validator, value)
        return Kept({"passed": reason is None, "found": compact, "reason": reason})

    def _schema_of(self, row: Row) -> dict[str, Any]:
        text = row.get(self.schema_column)
        try:
            schema = json.loads(text) if isinstance(text, str) else None
        except ValueError as error:
            raise DataError(f"column {self.schema_column!r} holds text that is not JSON ({error})") from None
        if not isinstance(schema, dict):
            found = "is missing" if self.schema_column not in row else "holds no object as JSON text"
            raise DataError(f"column {self.schema_column!r} {found}; a JSON Schema is required")
        return schema


def _validator(schema: dict[str, Any]) -> Any:
    """Raises DataError if the schema is not valid."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise DataError(f"the schema is not valid at {error.json_path}: {error.message:.200}") from None
    # An empty registry: nothing is fetched.
    return Draft202012Validator(schema, registry=Registry())


def _strict_json(text: str) -> Any:
    return json.loads(text.strip(), object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is repeated")
    return value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _first_error(validator: Any, value: Any) -> str | None:
    from referencing.exceptions import Unresolvable

    try:
        errors = sorted(validator.iter_errors(value), key=lambda each: (each.json_path, each.message))
    except (Unresolvable, RecursionError) as broken:
        return f"the schema cannot be applied: {type(broken).__name__}: {broken!s:.120}"
    return f"{errors[0].json_path}: {errors[0].message:.200}" if errors else None
