"""ShareGPT's turns: {from, value}, with calls of tools in the function form.

A call is a turn from ``function_call``, whose value is JSON text of {name, arguments} or of a list of these;
what the tool answers is a turn from ``observation``. Calls have no ids there: answers follow in the order of
the calls.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...contracts.errors import DataError
from .turns import Turn, beside_text

_ROLES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
_MESSAGES = "use format: messages"


def sharegpt_turns(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """Convert turns as :func:`.turns.turns_of` returns them. Raises DataError for what would be lost."""
    calls: list[dict[str, Any]] = []
    found = []
    for turn in turns:
        if turn["role"] not in _ROLES:
            raise DataError(
                f"sharegpt has no role {turn['role']!r} (it has {', '.join(_ROLES)}): {_MESSAGES}"
            )
        known = {"tool_calls"} if turn["role"] == "assistant" else set()
        if turn["role"] == "tool":
            known = _answered(turn, calls)
        lost = next((key for key in beside_text(turn) if key not in known), None)
        if lost is not None:
            raise DataError(f"a turn has {lost!r}, which sharegpt would drop: {_MESSAGES}")
        if "tool_calls" in turn:
            calls = list(turn["tool_calls"])
            found.append({"from": "function_call", "value": _called(turn)})
        else:
            found.append({"from": _ROLES[turn["role"]], "value": turn["content"]})
    return found


def _called(turn: Turn) -> str:
    """The value of a turn that calls."""
    if turn["content"]:
        raise DataError(f"a turn has both a text and calls, which sharegpt cannot hold: {_MESSAGES}")
    calls = []
    for call in turn["tool_calls"]:
        name, text = call["function"]["name"], call["function"]["arguments"]
        try:
            calls.append({"name": name, "arguments": json.loads(text or "{}")})
        except ValueError as error:
            raise DataError(f"the arguments of {name!r} are text that is not JSON ({error})") from None
    return json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)


def _answered(turn: Turn, calls: list[dict[str, Any]]) -> set[str]:
    """The keys of a tool's turn that say only what its place says: which call it answers."""
    if not calls:
        return set()
    call = calls.pop(0)
    same = {"tool_call_id": call["id"], "name": call["function"]["name"]}
    return {key for key, value in same.items() if turn.get(key) == value}
