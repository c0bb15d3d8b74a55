"""Truncation of a chat template where the user's text begins, so that the model writes the user's turn.

Xu et al., "Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing", arXiv
2406.08464.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...contracts.inference import Message

#: Placeholder for the user's text, which every template treats as plain text.
_MARK = "GRISTMILL-0F-THE-USER"


def end_tokens(path: Path, tokenizer: Any) -> frozenset[int]:
    """Return the tokens at which an engine stops decoding the model in the directory ``path``."""
    ends = {tokenizer.eos_token_id}
    for name in ("config.json", "generation_config.json"):
        try:
            named = json.loads((path / name).read_text()).get("eos_token_id")
        except (OSError, ValueError):
            continue
        ends |= set(named) if isinstance(named, list) else {named}
    return frozenset(token for token in ends if token is not None)


def open_user_turn(
    tokenizer: Any, turns: Sequence[Message], ends: frozenset[int], arguments: Mapping[str, Any]
) -> str:
    """Render ``turns`` with the chat template and its ``arguments``, up to where the user's next text begins.

    Raises ValueError if the template does not print that text, or does not close it with a token of
    ``ends``: the model would then continue and answer itself.
    """
    whole: str = tokenizer.apply_chat_template(
        [*(dict(turn) for turn in turns), {"role": "user", "content": _MARK}],
        add_generation_prompt=False,
        tokenize=False,
        **arguments,
    )
    before, found, after = whole.rpartition(_MARK)
    if not found:
        raise ValueError("it does not print a user's text as it is")
    closing = tokenizer(after, add_special_tokens=False)["input_ids"]
    if not closing or closing[0] not in ends:
        shown = after.strip().partition("\n")[0][:40]
        raise ValueError(f"it closes the user's turn with {shown!r}, at which decoding does not stop")
    return before
