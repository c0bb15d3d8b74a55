"""Rows of conversations and of questions with answers, as data sets for fine-tuning have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .turns import Turn, from_json, ordered_json, turns_from

#: Columns with a conversation in ShareGPT's form.
CONVERSATIONS = ("conversations", "conversation")


def messages(row: Mapping[str, Any]) -> dict[str, Any] | None:
    turns = turns_from(row.get("messages"))
    return None if turns is None else replaced(row, (), {"messages": turns})


def sharegpt(row: Mapping[str, Any]) -> dict[str, Any] | None:
    name = next((each for each in CONVERSATIONS if row.get(each) is not None), None)
    turns = turns_from(row.get(name)) if name else None
    if name is None or turns is None or row.get("messages") is not None:
        return None
    made = opened(row, turns)
    return replaced(row, (name, "messages", *said_system(row, made)), {"messages": made})


def opened(row: Mapping[str, Any], turns: list[Turn]) -> list[Turn]:
    """The turns after the row's system prompt, unless they begin with one."""
    system = row.get("system")
    if not isinstance(system, str) or not system or (turns and turns[0]["role"] == "system"):
        return turns
    return [{"role": "system", "content": system}, *turns]


def said_system(row: Mapping[str, Any], turns: Sequence[Turn]) -> tuple[str, ...]:
    """The row's column of the system prompt, if the turns begin with what it says, or it says nothing."""
    system = row.get("system")
    said = not system or (bool(turns) and turns[0].get("content") == system)
    return ("system",) if said else ()


def alpaca(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The `input` follows the instruction, and stays a column as well."""
    asked, about, answer = row.get("instruction"), row.get("input"), row.get("output")
    texts = all(isinstance(value, str) or value is None for value in (about, answer))
    if not isinstance(asked, str) or not texts or row.get("response") not in (None, answer):
        return None
    prompt = joined([asked, about]) or ""
    earlier = _exchanges(from_json(row.get("history")))
    if earlier is None:
        return None
    if not earlier:
        made: dict[str, Any] = {"prompt": prompt, "response": answer}
        return replaced(row, ("instruction", "output", *_empty(row, "history")), made)
    turns = [*opened(row, earlier), {"role": "user", "content": prompt}]
    if answer is not None:
        turns.append({"role": "assistant", "content": answer})
    return replaced(row, ("instruction", "output", "history", *said_system(row, turns)), {"messages": turns})


def _empty(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The column, if it says nothing."""
    return (name,) if name in row and not row[name] else ()


def _exchanges(history: Any) -> list[Turn] | None:
    """The turns of [question, answer] pairs; None for anything else."""
    if not history:
        return []
    if not isinstance(history, list) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in history
    ):
        return None
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for pair in history for role, text in zip(roles, pair)]


def prompt_completion(row: Mapping[str, Any]) -> dict[str, Any] | None:
    before, after = row.get("prompt"), row.get("completion")
    if isinstance(before, str) and isinstance(after, str) and not turns_from(after):
        return replaced(row, ("completion",), {"prompt": before, "response": after})
    asked, answer = turns_from(before), turns_from(after)
    if asked is None or answer is None:
        return None
    turns = [*opened(row, asked), *answer]
    return replaced(row, ("prompt", "completion", *said_system(row, turns)), {"messages": turns})


def conversations_completed(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Texts of these names may be anything: only turns are recognized."""
    return None if isinstance(row.get("prompt"), str) else prompt_completion(row)


def replaced(row: Mapping[str, Any], taken: Collection[str], made: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the columns of ``made`` for those that were taken. Tools become JSON text."""
    new = {name: value for name, value in made.items() if name not in row}
    kept = {name: made.get(name, row[name]) for name in row if name in made or name not in taken}
    return with_tools({**new, **kept})


def with_tools(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its tools as JSON text, in the form of today's API."""
    functions = from_json(row.get("functions"))
    if row.get("tools") is None and isinstance(functions, list) and functions:  # before there were tools
        wrapped = [{"type": "function", "function": each} for each in functions]
        row = {name: value for name, value in row.items() if name != "functions"} | {"tools": wrapped}
    tools = row.get("tools")
    if isinstance(tools, Mapping):
        tools = [tools]
    if isinstance(tools, (list, tuple)):
        row["tools"] = ordered_json(tools) if tools else None
    return row


def joined(parts: Sequence[Any]) -> str | None:
    """The texts among the parts, blank lines between them; None if there are none."""
    texts = [part for part in parts if isinstance(part, str) and part.strip()]
    return "\n\n".join(texts) or None
