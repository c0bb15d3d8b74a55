"""The layouts in which data sets hold questions and answers, and the exchange that a row of each holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

QUESTIONS = ("prompt", "question", "query", "problem", "instruction", "text")
ANSWERS = ("response", "answer", "completion", "output", "solution", "canonical_solution", "target")
_CONVERSATIONS = ("messages", "conversations", "conversation")
_ROLES = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "assistant": "assistant",
    "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "bard": "assistant", "system": "system",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one row asks and answers.

    ``prompt``: all that comes before the answer, the turns separated by blank lines. ``rejected``: the answer
    that a preference refuses. ``layout``: the name of the layout.
    """

    layout: str
    prompt: str | None
    response: str | None = None
    rejected: str | None = None


def exchange(row: Mapping[str, Any]) -> Exchange | None:
    """The question and answer of a row, or None if it has no layout that is known here."""
    return next((found for read in _LAYOUTS if (found := read(row)) is not None), None)


def _preference(row: Mapping[str, Any]) -> Exchange | None:
    """``chosen`` and ``rejected``: texts, turns or whole conversations; the question may lie beside them."""
    if row.get("chosen") is None or row.get("rejected") is None:
        return None
    before = next((turns for name in _CONVERSATIONS if (turns := turns_of(row.get(name)))), [])
    prompt, response = _last_answer([*before, *_answer_turns(row["chosen"])])
    _, rejected = _last_answer(_answer_turns(row["rejected"]))
    asked = _first_text(row, QUESTIONS)
    if asked is not None and asked not in (prompt or ""):  # a whole conversation begins with the question
        prompt = _joined([asked, prompt])
    return Exchange("preference", prompt, response, rejected)


def _answer_turns(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        value = [value]
    return turns_of(value) or ([("assistant", value)] if isinstance(value, str) else [])


def _chat(row: Mapping[str, Any]) -> Exchange | None:
    """``messages`` with role and content (OpenAI), or ``conversations`` with from and value (ShareGPT)."""
    for name in _CONVERSATIONS:
        if turns := turns_of(row.get(name)):
            prompt, response = _last_answer(turns)
            return Exchange("messages" if name == "messages" else "sharegpt", prompt, response)
    return None


def _alpaca(row: Mapping[str, Any]) -> Exchange | None:
    """``instruction``, ``input`` and ``output``."""
    if not isinstance(row.get("instruction"), str):
        return None
    response = _first_text(row, ("output", *ANSWERS))
    prompt = _joined([row.get("system"), row["instruction"], row.get("input")])
    return Exchange("alpaca", prompt, response)


def _pair(row: Mapping[str, Any]) -> Exchange | None:
    """A column with a question, and one with an answer if the row has it."""
    asked, answered = _first_text(row, QUESTIONS), _first_text(row, ANSWERS)
    if asked is None:
        return None
    return Exchange(
        "pair" if answered is not None else "prompt", _joined([row.get("system"), asked]), answered
    )


_LAYOUTS: Sequence[Callable[[Mapping[str, Any]], Exchange | None]] = (_preference, _chat, _alpaca, _pair)


def turns_of(value: Any) -> list[tuple[str, str]]:
    """(role, text) of each turn of a conversation, or of JSON text of one; empty for anything else.

    A content in parts gives the texts of its parts.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if not isinstance(value, list):
        return []
    turns = []
    for turn in value:
        if not isinstance(turn, dict):
            return []
        role = turn.get("role") if turn.get("role") is not None else turn.get("from")
        content = turn.get("content") if turn.get("content") is not None else turn.get("value")
        if isinstance(content, list):
            content = _joined([part.get("text") if isinstance(part, dict) else part for part in content])
        if isinstance(role, str):
            turns.append(
                (_ROLES.get(role.lower(), role.lower()), content if isinstance(content, str) else "")
            )
    return turns


def _last_answer(turns: Sequence[tuple[str, str]]) -> tuple[str | None, str | None]:
    """(all that comes before the last turn of the assistant, that turn)."""
    last = max((place for place, (role, _) in enumerate(turns) if role == "assistant"), default=None)
    before = turns if last is None else turns[:last]
    return _joined([text for _, text in before]), None if last is None else turns[last][1]


def _first_text(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((row[name] for name in names if isinstance(row.get(name), str)), None)


def _joined(parts: Sequence[Any]) -> str | None:
    texts = [part for part in parts if isinstance(part, str) and part.strip()]
    return "\n\n".join(texts) or None
