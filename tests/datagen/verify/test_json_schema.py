"""JSON against a schema: of all rows or each row's own; what is not strict JSON does not pass."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.datagen.verify.json_schema import VerifyJsonSchema

SCHEMA = {"type": "object", "required": ["name"], "properties": {"age": {"type": "integer", "minimum": 0}}}


def judged(operator: VerifyJsonSchema, **row: Any) -> Any:
    [[outcome]] = asyncio.run(operator.open(None)([{"_id": "r", **row}]))  # type: ignore[arg-type]
    return outcome


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ('{"name": "Ann", "age": 3}', None),
        ('Here it is:\n```json\n{"name": "Ann"}\n```\nAs asked.', None),
        ('{"age": 3}', "$: 'name' is a required property"),
        ('{"name": "Ann", "age": -1}', "$.age: -1 is less than the minimum of 0"),
        ("[]", "$: [] is not of type 'object'"),
        ('{"name": "Ann", "name": "Bob"}', "it is not JSON: a key is repeated"),
        ('{"name": NaN}', "it is not JSON: NaN is no JSON value"),
        ('{"name": "Ann"} and more', "it is not JSON: Extra data"),
        ('{"name": "Ann",}', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("", "it is not JSON"),
    ],
)
def test_responses(response: str, reason: str | None) -> None:
    for operator, row in (
        (VerifyJsonSchema(schema=SCHEMA), {}),
        (VerifyJsonSchema(), {"schema": json.dumps(SCHEMA)}),
    ):
        outcome = judged(operator, response=response, **row)
        assert outcome.row["passed"] is (reason is None)
        assert (outcome.row["reason"] or "").startswith(reason or "")


def test_schemas() -> None:
    with pytest.raises(DataError, match="the schema is not valid at"):
        VerifyJsonSchema(schema={"type": "objekt"}).inspect()
    own = VerifyJsonSchema()
    assert "is missing; a JSON Schema" in judged(own, response="1").error
    assert "not JSON" in judged(own, response="1", schema="{").error
    assert "not valid" in judged(own, response="1", schema='{"type": 3}').error
    elsewhere = judged(own, response="1", schema='{"$ref": "https://example.org/schema.json"}')
    assert elsewhere.row["passed"] is False
    assert "cannot be applied" in elsewhere.row["reason"]
    assert (
        judged(own, response=None, schema="{}").error == "column 'response' holds NoneType; text is required"
    )


def test_a_pattern_that_backtracks_costs_its_row_alone() -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}
    operator = VerifyJsonSchema(schema=schema, seconds=2)
    rows = [{"_id": str(number), "response": json.dumps("a" * 40 + "!" * number)} for number in range(2)]
    [[fits], [endless]] = asyncio.run(operator.open(None)(rows))  # type: ignore[arg-type]
    assert fits.row["passed"] is True
    assert endless.row == {
        "passed": False,
        "found": None,
        "reason": "it cannot be judged: it takes longer than 2 s",
    }


def test_a_pattern_that_is_none_is_found_before_anything_runs() -> None:
    schema = {"properties": {"name": {"pattern": "(a"}}}
    with pytest.raises(
        DataError, match=r"not valid at \$\.properties\.name\.pattern: '\(a' is not a 'regex'"
    ):
        VerifyJsonSchema(schema=schema).inspect()
    assert "is not a 'regex'" in judged(VerifyJsonSchema(), response="1", schema=json.dumps(schema)).error
