"""Whether calls fit the tools that were offered. Runs in a limited process, as ``verify/accepted_json`` does:
a schema may have patterns that backtrack for years."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from ...contracts.errors import DataError
from ..verify.accepted_json import first_error, strict_json, validator

#: What a schema that says nothing about other arguments is given, so that it refuses them.
_CLOSED = {"unevaluatedProperties": False}


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
def _offered(tools: str) -> dict[str, tuple[Any, Any]]:
    """Return for each tool what checks its arguments, and what checks that there are no others.

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
            closed = validator({**_CLOSED, **schema})
        except DataError as error:
            raise DataError(f"tool {name!r}: {error.message}") from None
        found[name] = checker, closed
    return found


def _judged(call: dict[str, str], offered: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    name = call["name"]
    if name not in offered:
        there = f"offered: {', '.join(sorted(offered)):.400}" if offered else "no tools were offered"
        return {"verdict": "unknown_tool", "reason": f"there is no tool {name!r:.80}; {there}"}
    try:
        arguments = strict_json(call["arguments"])
    except (ValueError, RecursionError) as error:
        return {"verdict": "not_json", "reason": f"the arguments are not JSON: {error!s:.200}"}
    checker, closed = offered[name]
    reason = first_error(checker, arguments)
    if reason is None and not isinstance(arguments, dict):  # the schema may have a type of its own
        reason = "$: the arguments are no object"
    if reason is None and (reason := first_error(closed, arguments)) is not None:
        others = (other for other in sorted(arguments) if repr(other) in reason)
        reason = next((f"$: there is no argument {other!r:.80}" for other in others), reason)
    return {"arguments": arguments} if reason is None else {"verdict": "arguments", "reason": reason}
