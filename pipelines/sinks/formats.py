"""The shapes in which trainers read conversations: messages, Alpaca, ShareGPT, pairs, tasks, …

Pure functions from a row to one record. Each raises DataError, with the row and the fix,
if the row does not fit the format: nothing that has a value is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from ...contracts.errors import DataError
from ...contracts.rows import THOUGHT, Row
from .reward_formats import to_grpo, to_rlvr, to_verifiers
from .sharegpt import sharegpt_turns
from .turns import Turn, beside_text, name_of, tools_of, turns_in_column, turns_of, without_thought

Format = Literal[
    "rows",
    "messages",
    "prompt_completion",
    "prompt_completion_turns",
    "alpaca",
    "sharegpt",
    "prompt_chosen_rejected",
    "prompt_chosen_rejected_turns",
    "grpo",
    "verifiers",
    "rlvr",
]

#: The formats of preferences.
PREFERENCE_FORMATS = ("prompt_chosen_rejected", "prompt_chosen_rejected_turns")


def to_messages(row: Row) -> Row:
    """``messages``: list of {role, content, tool_calls, …}, as chat templates take them; ``tools``."""
    return {"messages": turns_of(row), "tools": tools_of(row)}


def to_prompt_completion(row: Row) -> Row:
    """``system``, ``prompt`` and ``completion``, of one exchange; ``reasoning``."""
    system, user, assistant, thought = _one_exchange(row, "prompt_completion")
    return {"system": system, "prompt": user, "completion": assistant, "reasoning": thought}


def to_prompt_completion_turns(row: Row) -> Row:
    """``prompt`` and ``completion``, both turns: the completion is the last one; ``tools``."""
    *before, last = turns_of(row)
    if not before or before[-1]["role"] not in ("user", "tool"):
        raise DataError(
            "prompt_completion_turns needs a turn of the user or of a tool before the answer: use format: "
            "messages",
            row=name_of(row),
        )
    return {"prompt": before, "completion": [last], "tools": tools_of(row)}


def to_alpaca(row: Row) -> Row:
    """``system``, ``instruction``, ``input`` and ``output``, of one exchange; ``reasoning``.

    The row's ``input``, if it has one, is taken out of the end of its question.
    """
    system, user, assistant, thought = _one_exchange(row, "alpaca")
    about = row.get("input")
    if isinstance(about, str) and about.strip() and user.endswith(f"\n\n{about}"):
        user = user.removesuffix(f"\n\n{about}")
    else:
        about = ""
    made = {"system": system, "instruction": user, "input": about, "output": assistant}
    return {**made, "reasoning": thought}


def to_sharegpt(row: Row) -> Row:
    """``conversations``: list of {from, value}, with calls of tools in the function form; ``tools``;
    ``reasoning`` of the last turn."""
    *before, last = turns_of(row)
    try:
        turns = sharegpt_turns([*before, without_thought(last)])
    except DataError as error:
        raise DataError(error.message, row=name_of(row)) from None
    return {"conversations": turns, "tools": tools_of(row), "reasoning": last.get(THOUGHT)}


#: The columns of a preference, and who speaks in each.
PREFERENCE: Mapping[str, str] = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}


def to_prompt_chosen_rejected(row: Row) -> Row:
    """``prompt``, ``chosen`` and ``rejected``, as preference trainers take them.

    They are texts, with ``system``; or, if one of them holds turns, all are turns. ``tools`` too, if any.
    """
    return _preference(row, as_turns=False)


def to_prompt_chosen_rejected_turns(row: Row) -> Row:
    """``prompt``, ``chosen`` and ``rejected``, all of them turns, and ``tools``."""
    return _preference(row, as_turns=True)


def _preference(row: Row, *, as_turns: bool) -> Row:
    turns = {name: turns_in_column(row, name) for name in PREFERENCE}
    for name in PREFERENCE:
        if not turns[name] and not isinstance(row.get(name), str):
            raise DataError(
                f"prompt_chosen_rejected needs a text or turns in the column {name!r}, found "
                f"{_what(row, name)}",
                row=name_of(row),
            )
    tools = tools_of(row)
    if not as_turns and not any(turns.values()):
        return {name: row.get(name) for name in ("system", *PREFERENCE)} | {"tools": tools}
    made = {name: turns[name] or [{"role": role, "content": row[name]}] for name, role in PREFERENCE.items()}
    system = row.get("system")
    if isinstance(system, str) and system and made["prompt"][0]["role"] != "system":
        made["prompt"] = [{"role": "system", "content": system}, *made["prompt"]]
    for name in ("chosen", "rejected"):
        made[name] = _answer(made[name], made["prompt"], name, row)
    return made | {"tools": tools}


def _what(row: Row, name: str) -> str:
    """What a column of a row holds instead of a text or turns."""
    if name not in row:
        return "no such column"
    found = row[name]
    return "null" if found is None else "an empty list" if found == [] else type(found).__name__


def _answer(turns: list[Turn], prompt: list[Turn], name: str, row: Row) -> list[Turn]:
    """The turns after the prompt: preference data often has whole conversations on both sides.

    Trainers put the prompt before what is written, and would have it twice.
    """
    if turns[0]["role"] == "assistant":
        return turns
    if turns[: len(prompt)] == prompt and len(turns) > len(prompt):
        return turns[len(prompt) :]
    raise DataError(
        f"its {name!r} begins with a turn of {turns[0]['role']!r} and is not its prompt with an answer, and "
        "trainers put the prompt before it: read such rows with `format: preferences`, or use format: rows",
        row=name_of(row),
    )


def _one_exchange(row: Row, name: str) -> tuple[str | None, str, str, str | None]:
    """The system prompt, the question, the answer, and what was thought before it."""
    *before, last = turns_of(row)
    turns = [*before, without_thought(last)]
    roles = [turn["role"] for turn in turns]
    system = turns[0]["content"] if roles[0] == "system" else None
    rest = turns[1:] if system is not None else turns
    if [turn["role"] for turn in rest] != ["user", "assistant"]:
        raise DataError(
            f"{name} holds one question and its answer, found the turns {', '.join(roles)}: use "
            "format: messages or "
            "sharegpt",
            row=name_of(row),
        )
    lost = next((key for turn in turns for key in beside_text(turn)), None)
    lost = lost or ("tools" if tools_of(row) is not None else None)
    if lost is not None:
        raise DataError(f"it has {lost!r}, which {name} would drop: use format: messages", row=name_of(row))
    return system, rest[0]["content"], rest[1]["content"], last.get(THOUGHT)


#: The formats whose conversations may be turns with calls of tools in OpenAI's form.
CONVERSED = ("messages", "prompt_completion_turns", "prompt_chosen_rejected", "prompt_chosen_rejected_turns")
#: Format -> function from a row to a record; "rows" leaves rows as they are and is not here.
FORMATS: Mapping[str, Callable[[Row], Row]] = {
    "messages": to_messages,
    "prompt_completion": to_prompt_completion,
    "prompt_completion_turns": to_prompt_completion_turns,
    "alpaca": to_alpaca,
    "sharegpt": to_sharegpt,
    "prompt_chosen_rejected": to_prompt_chosen_rejected,
    "prompt_chosen_rejected_turns": to_prompt_chosen_rejected_turns,
    "grpo": to_grpo,
    "verifiers": to_verifiers,
    "rlvr": to_rlvr,
}
