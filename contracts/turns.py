"""The turns of conversations in one form, whatever data set or API they come from.

A turn is ``{role, content}`` with whatever else it has. Its calls of tools are in OpenAI's form:
``tool_calls`` is a list of ``{id, type, function: {name, arguments}}``, with the arguments as JSON text,
because their keys differ from call to call. ShareGPT's turns (``from`` and ``value``) become such turns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .json_values import plain

Turn: TypeAlias = dict[str, Any]

#: The columns that list the functions which a model may call: schemas, whose keys differ.
TOOLS = ("tools", "functions")
#: The names that data sets give to roles.
_ROLES = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "assistant": "assistant",
    "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "bard": "assistant", "system": "system",
    "tool": "tool", "observation": "tool", "function_response": "tool", "function-response": "tool",
    "tool_response": "tool",
}  # fmt: skip
#: ShareGPT's turns whose value is JSON text of a call, or of a list of calls.
_CALLING = ("function_call", "function-call", "tool_call")


def is_turns(value: object) -> bool:
    """Whether the value is a list of turns, at least one, each with a ``role``, or ShareGPT's ``from``."""
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(turn, Mapping) and isinstance(_said_by(turn), str) for turn in value)
    )


def unreadable(value: object) -> str | None:
    """What is wrong with the first turn whose content is no text, no list of parts and not null.

    None if there is none, or if the value is no conversation.
    """
    turns: Sequence[Mapping[str, Any]] = value if is_turns(value) else ()  # type: ignore[assignment]
    for number, turn in enumerate(turns, 1):
        said = turn.get("value") if turn.get("content") is None else turn["content"]
        if said is not None and not isinstance(said, (str, list, tuple)):
            role = _said_by(turn)
            return f"turn {number} ({role}) has {said!r:.40} as its content: write a text in quotes"
    return None


def typed(turn: Mapping[str, Any]) -> Turn:
    """The turn with its calls in OpenAI's form and a content in parts, all texts, as one text.

    Everything else stays as it is. What is no call, or has parts that are no texts, is left alone.
    """
    made = dict(turn)
    if isinstance(made.get("content"), (list, tuple)):
        made["content"] = _joined(made["content"])
    if isinstance(made.get("tool_calls"), (list, tuple)):
        made["tool_calls"] = [_call(call) for call in made["tool_calls"]]
    if isinstance(made.get("function_call"), Mapping):  # of one call, before there were several
        made["function_call"] = _function(made["function_call"])
    return made


def typed_turns(value: Any) -> Any:
    """Turns, each as :func:`typed` has it; any other value as it is."""
    return [typed(turn) for turn in value] if is_turns(value) else value


def turns_from(value: object) -> list[Turn] | None:
    """The turns of a conversation as a list or as JSON text, in one form; None for anything else."""
    value = from_json(value)
    if not is_turns(value):
        return None
    turns: list[Turn] = []
    waiting: list[str] = []
    for given in value:  # type: ignore[attr-defined]
        turn = _renamed(given, sum(len(each.get("tool_calls") or ()) for each in turns))
        if "from" in given and turn.get("tool_calls"):
            waiting = [call["id"] for call in turn["tool_calls"]]
        elif "from" in given and turn["role"] == "tool" and waiting:  # answers follow in the order of calls
            turn = {**turn, "tool_call_id": waiting.pop(0)}
        turns.append(turn)
    return turns


def from_json(value: object) -> Any:
    """The value of JSON text of a list or an object; any other value, and any other text, as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def ordered_json(value: object) -> str:
    """JSON text with the keys in their own order, which a chat template shows to the model.

    Raises TypeError for a value that JSON cannot hold.
    """
    return json.dumps(value, ensure_ascii=False, default=plain)


def text_of(turn: Mapping[str, Any]) -> str:
    """The text of a turn, and of each call that it makes, JSON text of its name and arguments."""
    content = turn.get("content")
    if isinstance(content, (list, tuple)):  # with parts that are no texts
        content = "\n\n".join(
            part["text"] for part in content if _is_text_part(part) and part["text"].strip()
        )
    calls = turn.get("tool_calls")
    made = [ordered_json(call.get("function", call)) for call in calls or () if isinstance(call, Mapping)]
    return "\n".join([*([content] if isinstance(content, str) and content else []), *made])


def _said_by(turn: Mapping[str, Any]) -> object:
    return turn["role"] if turn.get("role") is not None else turn.get("from")


def _renamed(given: Mapping[str, Any], calls: int) -> Turn:
    """The turn with ``role`` and ``content``. ``calls``: the number of calls before it."""
    role = _said_by(given)
    assert isinstance(role, str)
    if "from" not in given:
        return typed(given) | {"role": _ROLES.get(role.lower(), role)}
    rest = {key: value for key, value in given.items() if key not in ("from", "value", "role", "content")}
    said = given.get("value") if given.get("value") is not None else given.get("content")
    if role.lower() in _CALLING:
        made = _called(said, calls)
        return {"role": "assistant", "content": said if made is None else None, **rest} | (
            {} if made is None else {"tool_calls": made}
        )
    return typed({"role": _ROLES.get(role.lower(), role.lower()), "content": said, **rest})


def _called(value: object, before: int) -> list[Turn] | None:
    """The calls in the value of a ``function_call`` turn; None if it holds something else.

    ShareGPT's calls have no ids: they are numbered.
    """
    given = from_json(value)
    given = [given] if isinstance(given, Mapping) else given
    if not isinstance(given, list) or not given:
        return None
    if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in given):
        return None
    return [{**_call(call), "id": f"call_{place}"} for place, call in enumerate(given, before + 1)]


def _call(given: Any) -> Any:
    """A call with all keys that calls have, so that those of all rows have one type."""
    if not isinstance(given, Mapping):
        return given
    if isinstance(given.get("function"), Mapping):
        function = _function(given["function"])
        rest = {key: value for key, value in given.items() if key != "function"}
    elif isinstance(given.get("name"), str):  # without the envelope
        function = _function({key: given[key] for key in ("name", "arguments") if key in given})
        rest = {key: value for key, value in given.items() if key not in ("name", "arguments")}
    else:
        return dict(given)
    return {"id": None, **rest, "type": given.get("type") or "function", "function": function}


def _function(given: Mapping[str, Any]) -> Turn:
    arguments = given.get("arguments")
    text = ordered_json(arguments) if isinstance(arguments, (Mapping, list, tuple)) else arguments
    return {**given, "arguments": text}


def _joined(parts: Sequence[Any]) -> Any:
    """The texts of a content in parts, one after the other; the parts if one of them is no text."""
    if all(_is_text_part(part) and set(part) <= {"type", "text"} for part in parts):
        return "".join(part["text"] for part in parts)
    return list(parts)


def _is_text_part(part: Any) -> bool:
    return (
        isinstance(part, Mapping) and part.get("type") in (None, "text") and isinstance(part.get("text"), str)
    )
