"""The tokens that end an answer, found in what the chat template writes after one.

A template may write more before an answer than its generation prompt (Qwen3's empty think block), and may end
an answer with the token that opens the next turn (GLM's).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Placeholder for the text of an answer.
_MARK = "gristmill"


def end_of_answer(tokenizer: Any, ends: frozenset[int], arguments: Mapping[str, Any]) -> list[int]:
    """Return the tokens after an answer, up to the first of ``ends``; none if the template tells none.

    ``arguments``: those of the template.
    """
    answered = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": _MARK}]
    for turns in (answered, [*answered, {"role": "user", "content": "More."}]):
        try:
            whole: str = tokenizer.apply_chat_template(turns, tokenize=False, **arguments)
        except Exception:  # a template may raise anything
            return []
        _, found, after = whole.rpartition(_MARK)
        tokens: list[int] = tokenizer(after, add_special_tokens=False)["input_ids"]
        last = next((place for place, token in enumerate(tokens) if token in ends), None)
        if not found or after.strip() or last is not None:
            return [] if not found or last is None else tokens[: last + 1]
    return []
