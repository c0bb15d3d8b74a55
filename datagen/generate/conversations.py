"""The conversation in a row's ``messages``, and the turns added to it."""

from __future__ import annotations

from ...contracts.errors import DataError
from ...contracts.inference import Message
from ...contracts.rows import Row, turns_in


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
    """Return the row's ``messages``; empty if null or missing. Raises DataError for another shape.

    Turns whose keys differ from row to row are JSON text.
    """
    given = turns_in(row.get("messages") or [])
    if given is None:
        raise DataError("its 'messages' are no list of turns, each {role, content}")
    if any(
        not isinstance(turn, dict)
        or not isinstance(turn.get("role"), str)
        or not isinstance(turn.get("content"), str)
        for turn in given
    ):
        raise DataError("every turn of 'messages' needs a role and a text")
    return [{"role": turn["role"], "content": turn["content"]} for turn in given]


def with_system(messages: list[Message], system: str | None) -> list[Message]:
    """Return the messages, preceded by ``system`` if they have no system prompt."""
    if not system or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system}, *messages]
