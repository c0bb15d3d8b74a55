"""Rows of preferences: a better and a worse answer, as texts, turns or whole conversations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .chat_rows import CONVERSATIONS, joined, opened, replaced, said_system
from .turns import Turn, text_of, turns_from


def preferences(row: Mapping[str, Any]) -> dict[str, Any] | None:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    name: str | None = None
    if row.get("prompt") is None:
        name = next((each for each in (*CONVERSATIONS, "messages") if turns_from(row.get(each))), None)
    before = turns_from(row.get("prompt")) or (turns_from(row[name]) if name else None)
    texts = isinstance(chosen, str) and isinstance(rejected, str) and not turns_from(chosen)
    if before is None and texts:
        return _preference_of_texts(row, str(chosen), str(rejected))
    pair = _pair(chosen, rejected, before)
    if pair is None:
        return None
    prompt, better, worse = pair
    asked, named = _question(row)
    if asked is not None and not any(asked in text_of(turn) for turn in prompt):
        prompt = [*prompt, {"role": "user", "content": asked}]
    if not prompt:
        return None
    prompt = opened(row, prompt)
    made = {"prompt": prompt, "chosen": better, "rejected": worse}
    return replaced(row, (*said_system(row, prompt), *named, *([name] if name else [])), made)


def _pair(
    chosen: Any, rejected: Any, before: list[Turn] | None
) -> tuple[list[Turn], list[Turn], list[Turn]] | None:
    """(prompt, better answer, worse answer), each as turns."""
    better, worse = _answers(chosen), _answers(rejected)
    if better is None or worse is None:
        return None
    if better[0]["role"] == "assistant" or worse[0]["role"] == "assistant":
        return before or [], better, worse
    most = min(len(better), len(worse)) - 1  # whole conversations
    same = next((place for place in range(most) if better[place] != worse[place]), most)
    if same == 0 or (before is not None and before != better[:same]):
        return None
    return better[:same], better[same:], worse[same:]


def _answers(value: Any) -> list[Turn] | None:
    if isinstance(value, Mapping):
        value = [value]
    turns = turns_from(value)
    return [{"role": "assistant", "content": value}] if turns is None and isinstance(value, str) else turns


def _preference_of_texts(row: Mapping[str, Any], chosen: str, rejected: str) -> dict[str, Any] | None:
    asked, named = _question(row)
    if asked is not None:
        made = {"prompt": asked, "chosen": chosen, "rejected": rejected}
        return replaced(row, named, made)
    pairs = enumerate(zip(chosen, rejected))
    same = next((place for place, (one, other) in pairs if one != other), min(len(chosen), len(rejected)))
    same -= same > 0 and chosen[same - 1] == " "  # the space belongs to the answers
    if not same:
        return None
    made = {"prompt": chosen[:same], "chosen": chosen[same:], "rejected": rejected[same:]}
    return replaced(row, ("prompt",), made)


def _question(row: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The question of a preference, and the column that it is taken from."""
    for name in ("prompt", "question", "instruction"):
        if isinstance(row.get(name), str) and turns_from(row[name]) is None:
            about = row.get("input") if name == "instruction" else None
            return joined([row[name], about]), (name,)
    return None, ()
