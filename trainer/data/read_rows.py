"""What objectives read from a row, and why a row cannot be read. Needs no model: the plan looks at rows too.

Each function raises ValueError, naming the reason, for a row that it cannot read; :class:`Unfit` also says
what the row is counted by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from ...contracts.inference import Message
from ...contracts.number_values import as_number
from ...contracts.rows import Row, reasoned_messages_of, turns_in
from .turns import check_answered, read_tools, read_turns
from .unfit import Unfit

#: The conversations of a row that are scored, and its number.
Scored: TypeAlias = tuple[Sequence[Sequence[Message]], float]
ReadScored: TypeAlias = Callable[[Row], Scored]


def check_finished(row: Row) -> None:
    """Raise Unfit for a response that a token limit ended: it would teach the model to stop anywhere."""
    if row.get("finish") == "length":
        raise Unfit("cut off", "cut off by a token limit during generation, so it has no end of turn")


def row_weight(row: Row) -> float:
    """Return the row's column ``weight``, or 1 if there is none.

    Raises ValueError if it is not positive.
    """
    given = row.get("weight")
    if given is None:
        return 1.0
    weight = as_number(given)
    if weight is None or weight <= 0:
        raise Unfit("wrong weights", f"its weight is {given!r:.40}, not a positive number")
    return weight


def read_messages(row: Row, read: Callable[[Row], list[Message]] = reasoned_messages_of) -> list[Message]:
    """Return the conversation of a row. ``read``: finds it in the columns."""
    try:
        return read(row)
    except ValueError as error:
        raise Unfit("no conversation", str(error)) from None


def check_conversation(row: Row, messages: Sequence[Message], *, answered: bool = True) -> None:
    """Check turns, tools and weight of a row. ``answered``: whether an answer must be the last turn."""
    turns = read_turns(messages)
    read_tools(row.get("tools"))
    if answered:
        check_answered(turns)
    row_weight(row)


def read_pair(row: Row) -> tuple[list[Message], list[Message]]:
    """Return the better and the worse conversation, which answer the same prompt."""
    better, worse = (_conversation(row, side) for side in ("chosen", "rejected"))
    if better[:-1] != worse[:-1]:
        raise Unfit("not a pair", "chosen and rejected do not answer the same prompt")
    if better == worse:
        raise Unfit("not a pair", "chosen and rejected are the same")
    return better, worse


def read_beside(row: Row, column: str) -> list[Message]:
    """Return the conversation with the response in ``column``, which answers the prompt of the row's pair."""
    found = _conversation(row, column)
    if found[:-1] != _conversation(row, "chosen")[:-1]:
        raise Unfit("not a pair", f"chosen and {column} do not answer the same prompt")
    return found


def read_scored_pair(row: Row) -> Scored:
    """Return the better and the worse conversation, and the column ``margin`` (0 without one)."""
    better, worse = (_conversation(row, side) for side in ("chosen", "rejected"))
    if better == worse:
        raise ValueError("chosen and rejected are the same")
    given = row.get("margin")
    return (better, worse), 0.0 if given is None else _number(given, "margin")


def read_strength(row: Row) -> Scored:
    """Return the better and the worse conversation, and by how much the better one is: ``strength``, > 0."""
    conversations, _ = read_scored_pair({**row, "margin": None})
    strength = _number(row.get("strength"), "strength")
    if strength <= 0:
        raise ValueError(f"its 'strength' is {strength}, not a positive number")
    return conversations, strength


def read_target(column: str) -> ReadScored:
    """Return a function that reads a row's conversation and the number in ``column``."""

    def read(row: Row) -> Scored:
        return (read_messages(row),), _number(row.get(column), column)

    return read


def read_text(text: object) -> str:
    """Return a plain text."""
    if not isinstance(text, str):
        raise Unfit("no text", f"its text is {text!r:.40}, not text")
    if not text.strip():
        raise Unfit("no text", "its text is empty")
    return text


def read_desirable(row: Row, column: str) -> bool:
    """Return whether the row's response is desirable."""
    desirable = row.get(column)
    if not isinstance(desirable, bool):
        raise ValueError(f"its {column!r} is {desirable!r}, not true or false")
    return desirable


def read_asked(row: Row) -> list[Message]:
    """Return the turns that were answered: those of ``prompt``, or of ``messages`` without the answer."""
    if isinstance(row.get("prompt"), str):
        system: list[Message] = [{"role": "system", "content": row["system"]}] if row.get("system") else []
        return [*system, {"role": "user", "content": row["prompt"]}]
    turns: list[Message] = list(row.get("messages") or ())
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise ValueError("it has neither a 'prompt' nor 'messages' that end with the sampled answer")
    return turns[:-1]


def read_sampled(row: Row) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the ids of the sampled tokens and their log-probabilities."""
    tokens, logprobs = row.get("response_tokens"), row.get("logprobs")
    if not tokens or not logprobs:
        raise ValueError(
            "it has no sampled tokens: generate with record_tokens: true and logprobs: 0, which add "
            "'response_tokens' and 'logprobs'"
        )
    if len(tokens) != len(logprobs):
        raise ValueError(f"it has {len(tokens)} response_tokens, but {len(logprobs)} logprobs")
    if not all(math.isfinite(each) and each <= 1e-4 for each in logprobs):
        raise ValueError("its 'logprobs' are not all log-probabilities")
    return tuple(map(int, tokens)), tuple(map(float, logprobs))


def read_reward(row: Row, column: str) -> float:
    found = row.get(column)
    reward = as_number(found)
    if reward is None:
        raise ValueError(f"its {column!r} is {found!r}, not a reward: a number, true or false")
    return reward


def read_group(row: Row, column: str | None) -> str:
    if column is not None:
        if row.get(column) is None:
            raise ValueError(f"its {column!r} is empty, so it is in no group")
        return str(row[column])
    parents = row.get("_parents")
    if not parents:
        raise ValueError("it was made from no row: name the column that is equal in a group as `group`")
    return " ".join(parents)


def _conversation(row: Row, side: str) -> list[Message]:
    """Return the row's prompt and the response in its column ``side`` as messages.

    Raises ValueError if one of them is missing or empty.
    """
    response, prompt = row.get(side), row.get("prompt")
    if not response:
        raise Unfit(
            "empty response", f"a pair needs 'prompt', 'chosen' and 'rejected'; {side!r} is missing or empty"
        )
    answer = _turns(response, side, "assistant")
    if answer[0]["role"] != "assistant":
        return answer  # the whole conversation, as preference data sets often have it
    if not prompt:
        raise Unfit(
            "no conversation", "a pair needs 'prompt', 'chosen' and 'rejected'; 'prompt' is missing or empty"
        )
    return [*_prompt(row), *answer]


def _prompt(row: Row) -> list[Message]:
    prompt = row["prompt"]
    system: list[Message] = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return [*system, *_turns(prompt, "prompt", "user")]


def _turns(value: object, column: str, role: Literal["user", "assistant"]) -> list[Message]:
    """Return the turns in a column, or its text as one of ``role``. Raises Unfit for anything else."""
    if not isinstance(value, (str, list, tuple)):
        raise Unfit("no conversation", f"its {column!r} is neither a text nor turns, but {value!r:.40}")
    given = turns_in(value)
    for number, turn in enumerate(given or (), 1):
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise Unfit("no conversation", f"turn {number} of its {column!r} has no role: {turn!r:.40}")
    return given or [{"role": role, "content": str(value)}]


def _number(given: object, column: str) -> float:
    number = as_number(given)
    if number is None:
        raise ValueError(f"its {column!r} is {given!r}, not a number")
    return number
