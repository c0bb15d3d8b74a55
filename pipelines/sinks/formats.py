"""The shapes in which trainers read conversations: messages, prompt/completion, Alpaca, ShareGPT, pairs.

Pure functions from a row to one record. Each raises DataError, with the row and the fix,
if the row does not fit the format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from ...contracts.errors import DataError
from ...contracts.inference import Message
from ...contracts.rows import Row, messages_of

Format = Literal["rows", "messages", "prompt_completion", "alpaca", "sharegpt", "prompt_chosen_rejected"]

#: Keys of a turn, besides role and text, that change its meaning.
_CALLS = ("tool_calls", "tool_call_id", "function_call")
_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}


def conversation(row: Row) -> list[Message]:
    """The row's turns, roles and texts only. Raises DataError unless they end with an assistant's turn."""
    try:
        found = messages_of(row)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(str(error), row=_name(row)) from error
    for turn in found:
        if not isinstance(turn.get("role"), str) or not isinstance(turn.get("content"), str):
            raise DataError("every turn needs a role and a text; found one without", row=_name(row))
    for turn in found:
        lost = next((key for key in _CALLS if turn.get(key)), None)
        if lost is not None:
            raise DataError(
                f"a turn has {lost!r}, which this format would drop: use format: rows, which keeps "
                "the turns as they are",
                row=_name(row),
            )
    turns: list[Message] = [{"role": turn["role"], "content": turn["content"]} for turn in found]
    if not turns or turns[-1]["role"] != "assistant":
        raise DataError(
            "the conversation does not end with the assistant's turn: export answered rows, or use "
            "format: rows",
            row=_name(row),
        )
    return turns


def to_messages(row: Row) -> Row:
    """``messages``: list of {role, content}, as chat templates take them."""
    return {"messages": conversation(row)}


def to_prompt_completion(row: Row) -> Row:
    """``system``, ``prompt`` and ``completion``, of one exchange."""
    system, user, assistant = _one_exchange(row, "prompt_completion")
    return {"system": system, "prompt": user, "completion": assistant}


def to_alpaca(row: Row) -> Row:
    """``system``, ``instruction``, ``input`` (empty) and ``output``, of one exchange."""
    system, user, assistant = _one_exchange(row, "alpaca")
    return {"system": system, "instruction": user, "input": "", "output": assistant}


def to_sharegpt(row: Row) -> Row:
    """``conversations``: list of {from: system|human|gpt|tool, value}."""
    turns = conversation(row)
    for turn in turns:
        if turn["role"] not in _SHAREGPT:
            raise DataError(
                f"sharegpt has no role {turn['role']!r} (it has {', '.join(_SHAREGPT)}): use format: "
                "messages",
                row=_name(row),
            )
    return {"conversations": [{"from": _SHAREGPT[turn["role"]], "value": turn["content"]} for turn in turns]}


def to_prompt_chosen_rejected(row: Row) -> Row:
    """``system``, ``prompt``, ``chosen`` and ``rejected``, as preference trainers take them."""
    for name in ("prompt", "chosen", "rejected"):
        if not isinstance(row.get(name), str):
            raise DataError(
                f"prompt_chosen_rejected needs a text in the column {name!r}, found "
                f"{type(row[name]).__name__ if name in row else 'no such column'}",
                row=_name(row),
            )
    return {name: row.get(name) for name in ("system", "prompt", "chosen", "rejected")}


def _one_exchange(row: Row, name: str) -> tuple[str | None, str, str]:
    turns = conversation(row)
    roles = [turn["role"] for turn in turns]
    system = turns[0]["content"] if roles[0] == "system" else None
    rest = turns[1:] if system is not None else turns
    if [turn["role"] for turn in rest] != ["user", "assistant"]:
        raise DataError(
            f"{name} holds one question and its answer, found the turns {', '.join(roles)}: use "
            "format: messages or "
            "sharegpt",
            row=_name(row),
        )
    return system, rest[0]["content"], rest[1]["content"]


def _name(row: Row) -> str:
    return str(row.get("_id", row.get("id", "?")))


#: Format -> function from a row to a record; "rows" leaves rows as they are and is not here.
FORMATS: Mapping[str, Callable[[Row], Row]] = {
    "messages": to_messages,
    "prompt_completion": to_prompt_completion,
    "alpaca": to_alpaca,
    "sharegpt": to_sharegpt,
    "prompt_chosen_rejected": to_prompt_chosen_rejected,
}
