"""The conversation in a row's ``messages``, and the turns added to it."""

from __future__ import annotations

import json
from typing import Any

from ...contracts.errors import DataError
from ...contracts.inference import Message
from ...contracts.rows import THOUGHT, Row, turns_in

#: What a turn has besides its role and its text that a model reads.
_BESIDE = (THOUGHT, "tool_calls", "tool_call_id", "name")


def with_user_turn(row: Row, said: str, system: str | None) -> list[Message]:
    """Return the row's conversation, or a new one, with another user turn.

    ``system``: the system prompt if it has none. Raises DataError if ``messages`` is not a conversation whose
    next turn is the user's.
    """
    return [*with_system(waiting_for_user(row), system), {"role": "user", "content": said}]


def waiting_for_user(row: Row) -> list[Message]:
    """Return the row's conversation; empty if it has none.

    Raises DataError if its last turn is the user's.
    """
    given = conversation(row)
    if given and given[-1]["role"] == "user":
        raise DataError("the conversation in 'messages' waits for the assistant: its last turn is the user's")
    return given


def conversation(row: Row) -> list[Message]:
    """Return the row's ``messages`` as models read them; empty if null or missing.

    Raises DataError for another shape. Turns whose keys differ from row to row are JSON text.
    """
    return [_turn(turn) for turn in _given(row)]


def continued(row: Row, *more: Message) -> list[Message]:
    """Return the row's ``messages`` and ``more``. What models do not read stays in its turn (``weight``,
    ``is_error``). Raises DataError as :func:`conversation` does.
    """
    return [*({**turn, **_turn(turn)} for turn in _given(row)), *more]  # type: ignore[list-item]


def _given(row: Row) -> list[Message]:
    given = turns_in(row.get("messages") or [])
    if given is None:
        raise DataError("its 'messages' are no list of turns, each {role, content}")
    return given


def _turn(given: object) -> Message:
    """Return a turn with its role, its text, and what models read beside it.

    Raises DataError if it has no role, or no text and no calls.
    """
    turn: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    calls = turn.get("tool_calls")
    text = turn.get("content") or "" if calls else turn.get("content")
    if not isinstance(turn.get("role"), str) or not isinstance(text, str):
        raise DataError("every turn of 'messages' needs a role and a text")
    beside = {name: turn[name] for name in _BESIDE if turn.get(name)}
    if isinstance(calls, str):
        try:
            beside["tool_calls"] = json.loads(calls)
        except (ValueError, RecursionError):
            raise DataError("the 'tool_calls' of a turn of 'messages' are text that is not JSON") from None
    return {"role": turn["role"], "content": text, **beside}  # type: ignore[typeddict-item]


def with_system(messages: list[Message], system: str | None) -> list[Message]:
    """Return the messages, preceded by ``system`` if they have no system prompt."""
    if not system or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system}, *messages]
