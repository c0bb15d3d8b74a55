"""Rows of OpenAI's files: batches of requests and of answers, logs of calls, preferences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .chat_rows import replaced, with_tools
from .turns import TOOLS, Turn, from_json, ordered_json, turns_from


def openai_batch(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """A request (`body`), or what was answered (`response`)."""
    body, answered = from_json(row.get("body")), from_json(row.get("response"))
    if isinstance(body, Mapping):
        made, rest = _asked(body)
        return None if made is None else replaced(row, ("body",), made | ({"body": rest} if rest else {}))
    if not isinstance(answered, Mapping) or not isinstance(answered.get("body"), Mapping):
        return None
    message, finish = _first_choice(answered["body"])
    if message is None:
        return None
    made = {"response": message.get("content"), "finish": finish, "body": ordered_json(answered)}
    for name in ("reasoning_content", "tool_calls"):
        if message.get(name):
            made["reasoning" if name == "reasoning_content" else name] = message[name]
    return replaced(row, (), made)


def openai_log(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """One call of the API: what was asked and what was answered."""
    request, answered = from_json(row.get("request")), from_json(row.get("response"))
    if not isinstance(request, Mapping) or not isinstance(answered, Mapping):
        return None
    made, rest = _asked(request)
    message, finish = _first_choice(answered)
    if made is None or message is None:
        return None
    made["messages"] = [*made["messages"], message]
    others = answered["choices"][1:]
    reply = {name: value for name, value in answered.items() if name != "choices"}
    reply |= {"choices": others} if others else {}
    beside = {name: ordered_json(value) for name, value in (("request", rest), ("reply", reply)) if value}
    return replaced(row, ("request", "response"), {**made, "finish": finish, **beside})


def _asked(request: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The conversation and the tools of a request, and what else it holds."""
    turns = turns_from(request.get("messages"))
    rest = {name: value for name, value in request.items() if name not in ("messages", *TOOLS)}
    if turns is None:
        return None, rest
    own = {name: request[name] for name in TOOLS if request.get(name)}
    return {"messages": turns, **with_tools(own)}, rest


def _first_choice(answered: Mapping[str, Any]) -> tuple[Turn | None, str | None]:
    choices = answered.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        return None, None
    turns = turns_from([choices[0].get("message")])
    return (turns[0] if turns else None), choices[0].get("finish_reason")


def openai_preferences(row: Mapping[str, Any]) -> dict[str, Any] | None:
    asked = from_json(row.get("input"))
    better, worse = turns_from(row.get("preferred_output")), turns_from(row.get("non_preferred_output"))
    if not isinstance(asked, Mapping) or better is None or worse is None:
        return None
    made, rest = _asked(asked)
    if made is None:
        return None
    pair = {"prompt": made.pop("messages"), "chosen": better, "rejected": worse, **made}
    return replaced(
        row, ("input", "preferred_output", "non_preferred_output"), pair | ({"input": rest} if rest else {})
    )
