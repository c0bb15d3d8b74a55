"""Calls of tools, found in the text that a model writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

from ...contracts.inference import CalledFunction, Request, ToolCall
from ...contracts.secrets import without

#: Reads an answer, given the request's tools (JSON text): the text beside the calls, and the calls.
ReadCalls: TypeAlias = Callable[[str, str], tuple[str, list[CalledFunction]]]

_HERMES = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)


def hermes(text: str, tools: str) -> tuple[str, list[CalledFunction]]:
    """Read calls as Hermes 2 Pro, Qwen2.5 and Qwen3 write them: JSON between ``<tool_call>`` tags.

    An answer with a call that cannot be read is a text as it is.
    """
    try:
        called = [json.loads(body) for body in _HERMES.findall(text)]
        calls = [function_of(call["name"], call.get("arguments") or {}) for call in called]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return text, []
    return (text.partition("<tool_call>")[0].strip(), calls) if calls else (text, [])


def given_calls(message: dict[str, Any], request: Request) -> tuple[ToolCall, ...] | None:
    """Return the calls in a server's message, in OpenAI's form; None if there are none.

    Raises KeyError, TypeError or ValueError for calls of another form.
    """
    given = message.get("tool_calls") or []
    if not given and message.get("function_call"):
        given = [{"function": message["function_call"]}]
    functions = [function_of(each["function"]["name"], each["function"].get("arguments")) for each in given]
    return numbered(functions, request, [each.get("id") for each in given])


def numbered(
    functions: Sequence[CalledFunction], request: Request, ids: Sequence[str | None] = ()
) -> tuple[ToolCall, ...] | None:
    """Return calls with their ids. Where the server gave none, they follow from the request alone, so that a
    row that is made again has the same."""
    named = [*ids, *[None] * (len(functions) - len(ids))]
    return tuple(
        ToolCall(id=str(name or _id(request, place)), type="function", function=function)
        for place, (function, name) in enumerate(zip(functions, named, strict=True))
    ) or None  # fmt: skip


def without_secrets(calls: Sequence[ToolCall], secrets: Iterable[str]) -> tuple[ToolCall, ...]:
    """Return the calls with these secrets hidden in their arguments."""
    hidden = tuple(secrets)
    return tuple(
        ToolCall(
            id=call["id"],
            type=call["type"],
            function={**call["function"], "arguments": without(call["function"]["arguments"], hidden)},
        )
        for call in calls
    )


def for_template(turn: dict[str, Any]) -> dict[str, Any]:
    """Return a turn as chat templates take it: the arguments of its calls as objects, and a text."""
    if not turn.get("tool_calls"):
        return turn
    calls = []
    for call in turn["tool_calls"]:
        function = call["function"]
        given = function.get("arguments")
        arguments = json.loads(given or "{}") if isinstance(given, str) else given or {}
        calls.append({**call, "function": {**function, "arguments": arguments}})
    return {**turn, "content": turn.get("content") or "", "tool_calls": calls}


def function_of(name: object, arguments: object) -> CalledFunction:
    if not isinstance(name, str):
        raise TypeError(f"a call has no name of a function, but {name!r:.40}")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return CalledFunction(name=name, arguments=text or "{}")


def _id(request: Request, place: int) -> str:
    return f"call_{blake2b(f'{request.id}|{request.seed}|{place}'.encode(), digest_size=12).hexdigest()}"
