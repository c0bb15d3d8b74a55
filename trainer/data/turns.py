"""The turns and tools of a row in the form that chat templates take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ...contracts.number_values import as_number
from ...contracts.rows import without_nulls
from .unfit import Unfit

#: One turn: ``role``, ``content`` (a text, a list of parts, or None beside calls), and whatever else the
#: template reads: ``tool_calls``, ``tool_call_id``, ``name``, ``reasoning_content``, …
Turn: TypeAlias = dict[str, Any]
#: Keys of a turn that hold what a model thought before its answer, by the families that write them.
THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def read_turns(messages: Sequence[Any]) -> list[Turn]:
    """Return the turns of a conversation. Raises Unfit, naming the turn, for others than templates take."""
    if not messages:
        raise Unfit("no conversation", "it has no turns")
    return [_turn(number, turn) for number, turn in enumerate(messages, 1)]


def read_tools(given: object) -> list[dict[str, Any]] | None:
    """Return the tools of a row: a list of JSON schemas, or JSON text of one. Raises Unfit for others."""
    if given is None or given == "" or given == []:
        return None
    tools = _parsed(given, "'tools'") if isinstance(given, str) else without_nulls(given)
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Unfit("no conversation", "its 'tools' are no list of objects, each the schema of a function")
    return tools or None


def check_answered(turns: Sequence[Turn]) -> None:
    """Raise Unfit unless the last turn is an answer of the assistant."""
    if turns[-1]["role"] != "assistant":
        raise Unfit("no turn to train on", "the last turn is not the assistant's")
    if not written_by_model(turns[-1]).strip():
        raise Unfit("empty response", "the response is empty: all labels would be masked")


def check_asked(turns: Sequence[Turn]) -> None:
    """Raise Unfit unless the last turn is the user's, with a text."""
    if turns[-1]["role"] != "user":
        raise Unfit("no turn to train on", "the last turn is not the user's")
    if not text_of(turns[-1]["content"]).strip():
        raise Unfit("empty response", "the user's last turn is empty: all labels would be masked")


def text_of(content: object) -> str:
    """Return the text of a turn's content, its parts joined."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def in_parts(turn: Turn) -> Turn:
    """Return the turn with its text as a list of one part."""
    content = turn["content"]
    return turn | {"content": [{"type": "text", "text": content}]} if isinstance(content, str) else turn


def thought_of(turn: Turn) -> str | None:
    """Return what was thought before the answer of a turn; None if nothing was."""
    return next((turn[key] for key in THOUGHTS if isinstance(turn.get(key), str) and turn[key].strip()), None)


def calls_of(turn: Turn) -> list[dict[str, Any]]:
    """Return the functions that the turn calls, each ``{name, arguments}``."""
    return [call["function"] for call in turn.get("tool_calls", ())]


def with_call(turn: Turn, place: int, change: Mapping[str, Any]) -> Turn:
    """Return the turn with ``name`` or ``arguments`` of one of its calls changed."""
    calls = list(turn["tool_calls"])
    calls[place] = calls[place] | {"function": {**calls[place]["function"], **change}}
    return turn | {"tool_calls": calls}


def function_of(tool: dict[str, Any]) -> dict[str, Any]:
    """Return the function of a tool: under ``function``, as in OpenAI's form, or the tool itself."""
    function = tool.get("function")
    return function if isinstance(function, dict) else tool


def with_name(tool: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the tool with another name of its function."""
    function = function_of(tool) | {"name": name}
    return function if function_of(tool) is tool else tool | {"function": function}


def with_text_arguments(turn: Turn) -> Turn:
    """Return the turn with the arguments of its calls as JSON text, as OpenAI's API writes them."""
    if "tool_calls" not in turn:
        return turn
    calls = []
    for call in turn["tool_calls"]:
        function = call["function"]
        arguments = json.dumps(function["arguments"], ensure_ascii=False)
        calls.append(call | {"function": function | {"arguments": arguments}})
    return turn | {"tool_calls": calls}


def written_by_model(turn: Turn) -> str:
    """Return all that the model writes in a turn: its thought, its text and its calls."""
    calls = [json.dumps(call, ensure_ascii=False) for call in calls_of(turn)]
    thoughts = [turn[key] for key in THOUGHTS if isinstance(turn.get(key), str)]
    return "\n".join([*thoughts, text_of(turn["content"]), *calls])


def is_weighted(turn: Turn) -> bool:
    """Whether the turn may be trained on: its ``weight``, if it has one, is not 0."""
    return as_number(turn.get("weight")) != 0


def _turn(number: int, given: Any) -> Turn:
    if not isinstance(given, Mapping):
        raise Unfit("no conversation", f"turn {number} is no turn with a role and a content")
    turn: Turn = {key: value for key, value in given.items() if value is not None and value != []}
    role = turn.get("role")
    if not isinstance(role, str):
        raise Unfit("no conversation", f"turn {number} has no role")
    if "function_call" in turn:  # the name of a single call before there were several
        turn["tool_calls"] = [{"type": "function", "function": turn.pop("function_call")}]
    if "tool_calls" in turn:
        turn["tool_calls"] = _calls(turn["tool_calls"], f"turn {number} ({role})")
    content = turn.setdefault("content", None)
    if isinstance(content, list):
        _check_parts(content, f"turn {number} ({role})")
    elif not (isinstance(content, str) or (content is None and "tool_calls" in turn)):
        raise Unfit("no conversation", f"turn {number} ({role}) has no text")
    return turn


def _check_parts(parts: list[Any], place: str) -> None:
    for part in parts:
        kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
        if kind != "text" or not isinstance(part.get("text"), str):
            raise Unfit("no conversation", f"{place} has a part of type {kind!r}: only texts are trained on")


def _calls(given: object, place: str) -> list[dict[str, Any]]:
    """Return the calls, each ``{type, function: {name, arguments}}`` with its arguments as an object."""
    calls = _parsed(given, f"{place}: its 'tool_calls'") if isinstance(given, str) else given
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise Unfit("no conversation", f"{place}: its 'tool_calls' are no list of calls")
    return [_call(call, place) for call in calls]


def _call(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    bare = {key: given[key] for key in ("name", "arguments") if key in given}
    function = given.get("function", bare)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Unfit("no conversation", f"{place}: a call has no function with a name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = _parsed(arguments or "{}", f"{place}: the arguments of {function['name']!r}")
    around = {key: value for key, value in given.items() if key not in ("name", "arguments", "function")}
    return {"type": "function", **around, "function": {**function, "arguments": arguments or {}}}


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unfit("no conversation", f"{what} are text that is not JSON ({error})") from None
