"""Whether a response is JSON that a schema accepts. Runs in a limited process: a schema may have patterns
that backtrack for years, and references that fork without end."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from ...contracts.errors import DataError

_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


def judge(response: str, schema: str) -> dict[str, Any]:
    """Return ``found``, the value as compact JSON with sorted keys (None if there is none), and ``reason``,
    why it does not pass (None if it does). ``invalid``: what is wrong with ``schema`` (JSON text), if it is.
    """
    try:
        checker = _validator(schema)
    except DataError as error:
        return {"invalid": error.message}
    blocks = _FENCE.findall(response)
    try:
        value = strict_json(blocks[0] if len(blocks) == 1 else response)
    except (ValueError, RecursionError) as error:
        return {"found": None, "reason": f"it is not JSON: {error!s:.200}"}
    found = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return {"found": found, "reason": first_error(checker, value)}


def validator(schema: dict[str, Any]) -> Any:
    """Return what applies a schema, its patterns compiled. Raises DataError if it is not valid."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry

    try:
        Draft202012Validator.check_schema(schema)  # its patterns, too
    except SchemaError as error:
        raise DataError(f"the schema is not valid at {error.json_path}: {error.message:.200}") from None
    # An empty registry: nothing is fetched.
    return Draft202012Validator(schema, registry=Registry())


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    return validator(json.loads(schema))


def strict_json(text: str) -> Any:
    """Return the value of JSON text. Raises ValueError for repeated keys, NaN and infinities, too."""
    return json.loads(text.strip(), object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is repeated")
    return value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def first_error(checker: Any, value: Any) -> str | None:
    """Return where and why what :func:`validator` gives refuses a value; None if it accepts it."""
    from referencing.exceptions import Unresolvable

    try:
        errors = sorted(checker.iter_errors(value), key=lambda each: (each.json_path, each.message))
    except (Unresolvable, RecursionError) as broken:
        return f"the schema cannot be applied: {type(broken).__name__}: {broken!s:.120}"
    return f"{errors[0].json_path}: {errors[0].message:.200}" if errors else None
