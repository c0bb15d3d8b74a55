"""Whether models have the same tokens, which combining their logits requires."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ...contracts.errors import ModelError


def check_same_tokens(models: Mapping[str, Path]) -> None:
    """Compare the tokenizers of models by name. ``models``: their directories; the first is the measure.

    Those without a readable ``tokenizer.json`` are passed over. Raises ModelError.
    """
    first: tuple[str, dict[str, int]] | None = None
    for name, path in models.items():
        tokens = _tokens(path)
        if tokens is None:
            continue
        if first is None:
            first = name, tokens
        elif tokens != first[1]:
            raise ModelError(_told(*first, name, tokens))


def _tokens(path: Path) -> dict[str, int] | None:
    file = path / "tokenizer.json"
    try:
        return _read(file, file.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=8)
def _read(file: Path, changed: int) -> dict[str, int]:
    """The id of each token. ``changed``: when the file was, so that another file is read again."""
    saved = json.loads(file.read_text(encoding="utf-8"))
    given = saved["model"]["vocab"]
    # A unigram model lists its pieces with their scores.
    tokens = (
        {piece: place for place, (piece, _) in enumerate(given)} if isinstance(given, list) else {**given}
    )
    return {**tokens, **{each["content"]: each["id"] for each in saved.get("added_tokens") or ()}}


def _told(one: str, tokens: dict[str, int], other: str, others: dict[str, int]) -> str:
    example = next(token for token in [*tokens, *others] if tokens.get(token) != others.get(token))
    return (
        f"{one!r} and {other!r} have different tokenizers ({len(tokens):,} and {len(others):,} tokens; "
        f"{example!r} is {_id(tokens, example)} and {_id(others, example)}), so their logits cannot be "
        "combined: name models of the same family"
    )


def _id(tokens: dict[str, int], token: str) -> str:
    return f"token {tokens[token]}" if token in tokens else "no token"
