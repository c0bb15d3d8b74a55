"""Whether models have the same tokens, which combining their logits requires."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ...contracts.errors import ModelError


def check_files(models: Mapping[str, Path]) -> None:
    """Compare the tokenizers of models by name, without loading any. ``models``: their directories.

    Those without a readable ``tokenizer.json`` are passed over. Raises ModelError if two differ.
    """
    _compare(_read_all(models))


def check_same_tokens(models: Mapping[str, Path]) -> None:
    """Compare the tokenizers of all models by name: by their files or, where one has none, as they load.

    ``models``: their directories. Raises ModelError if two differ, or if one cannot be loaded.
    """
    found = _read_all(models)
    if len(found) < len(models):
        # All of them, since loading may add tokens that a file leaves out.
        found = {name: _loaded(name, path) for name, path in models.items()}
    _compare(found)


def _compare(models: Mapping[str, dict[str, int]]) -> None:
    """Compare the ids of tokens. The first model is the measure."""
    first: tuple[str, dict[str, int]] | None = None
    for name, tokens in models.items():
        if first is None:
            first = name, tokens
        elif tokens != first[1]:
            raise ModelError(_told(*first, name, tokens))


def _loaded(name: str, path: Path) -> dict[str, int]:
    from transformers import AutoTokenizer

    try:
        tokens: dict[str, int] = AutoTokenizer.from_pretrained(str(path)).get_vocab()
    except Exception as error:  # libraries raise anything about files that they do not know
        raise ModelError(
            f"the tokenizer of {name!r} ({path}) cannot be loaded, so its tokens cannot be compared: {error}"
        ) from None
    return tokens


def _read_all(models: Mapping[str, Path]) -> dict[str, dict[str, int]]:
    return {name: tokens for name, path in models.items() if (tokens := _tokens(path)) is not None}


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
