"""Whether calls fit the tools that were offered. Runs in a limited process, as ``verify/accepted_json`` does:
a schema may have patterns that backtrack for years."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from ...contracts.errors import DataError
from ..verify.accepted_json import first_error, strict_json, validator

#: Keys of a schema that decide about arguments which ``properties`` does not name.
_OPEN = (
    "additionalProperties", "unevaluatedProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref",
    "$dynamicRef", "if", "dependentSchemas",
)  # fmt: skip


def judge(calls: list[dict[str, str]], tools: str) -> dict[str, Any]:
    """Return ``calls``: for each ``{name, arguments}``, whose arguments are JSON text, either ``arguments``,
    the object, or ``verdict`` and ``reason``.

    ``tools``: JSON text of the offered tools in OpenAI's form. ``invalid``: what is wrong with them, if
    something is.
    """
    try:
        offered = _offered(tools)
    except DataError as error:
        return {"invalid": error.message}
    return {"calls": [_judged(call, offered) for call in calls]}


@lru_cache(maxsize=64)
def _offered(tools: str) -> dict[str, tuple[Any, frozenset[str] | None]]:
    """Return what checks the arguments of each tool, and the names of its arguments if there are no others.

    Raises DataError if a schema is invalid.
    """
    found = {}
    for tool in json.loads(tools):
        name = tool["function"]["name"]
        schema = tool["function"].get("parameters") or {}
        if not isinstance(schema, dict):
            raise DataError(f"tool {name!r}: its 'parameters' are no JSON Schema, but {schema!r:.40}")
        try:
            checker = validator({"type": "object", **schema})
        except DataError as error:
            raise DataError(f"tool {name!r}: {error.message}") from None
        closed = not any(key in schema for key in _OPEN)
        found[name] = checker, frozenset(schema.get("properties", {})) if closed else None
    return found


def _judged(call: dict[str, str], offered: dict[str, tuple[Any, frozenset[str] | None]]) -> dict[str, Any]:
    name = call["name"]
    if name not in offered:
        there = ", ".join(sorted(offered))
        return {"verdict": "unknown_tool", "reason": f"there is no tool {name!r:.80}; there are {there:.400}"}
    try:
        arguments = strict_json(call["arguments"])
    except (ValueError, RecursionError) as error:
        return {"verdict": "not_json", "reason": f"the arguments are not JSON: {error!s:.200}"}
    checker, named = offered[name]
    reason = first_error(checker, arguments)
    if reason is None and not isinstance(arguments, dict):  # the schema may have a type of its own
        reason = "$: the arguments are no object"
    if reason is None and named is not None and (others := sorted(set(arguments) - named)):
        reason = f"$: there is no argument {others[0]!r:.80}"
    return {"arguments": arguments} if reason is None else {"verdict": "arguments", "reason": reason}
