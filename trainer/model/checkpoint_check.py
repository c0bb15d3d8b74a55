"""Checks of a model directory before training: its config, its tensors' headers and its tokenizer.

Imports no torch, since plans check this too.
"""

from __future__ import annotations

from pathlib import Path

from ...contracts.errors import ModelError
from .checkpoint_config import check_config, read_config
from .checkpoint_kind import check_kind
from .checkpoint_tensors import check_tensors, stored_tensors

#: Files of which each kind of tokenizer has at least one.
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


def check_checkpoint(path: Path) -> None:
    """Raise ModelError, naming what is not understood, if the model in ``path`` cannot be trained.

    Reads ``config.json`` and the headers of the weights: what only the values tell is found at loading.
    """
    raw = read_config(path)
    check_config(path, raw)
    check_kind(path, raw)
    check_tensors(path, raw, stored_tensors(path))
    check_tokenizer(path)


def check_tokenizer(path: Path) -> None:
    """Raise ModelError if the directory ``path`` has no tokenizer."""
    if not any((path / name).is_file() for name in TOKENIZERS):
        raise ModelError(
            f"{path}: there is no tokenizer (tokenizer.json); copy the tokenizer's files from the model that "
            "this one was made from"
        )
