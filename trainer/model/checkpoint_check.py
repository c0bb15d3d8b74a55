"""Checks of a model directory before training: its config, its tensors' headers and its tokenizer.

Imports no torch, since plans check this too.
"""

from __future__ import annotations

from pathlib import Path

from ...contracts.errors import ModelError
from .checkpoint_kind import quantization
from .checkpoint_tensors import check_tensors, stored_tensors
from .config_fields import read_config
from .model_config import ModelConfig

#: Files of which each kind of tokenizer has at least one.
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


def check_checkpoint(path: Path) -> ModelConfig:
    """Check that the model in ``path`` can be trained, and return its config.

    Reads ``config.json`` and the headers of the weights: what only the values tell is found at loading.
    Raises ModelError, naming what is not understood, if it cannot.
    """
    raw = read_config(path)
    config = ModelConfig.of(raw, path)
    check_tensors(path, config, stored_tensors(path), quantized=bool(quantization(raw)))
    check_tokenizer(path)
    return config


def check_tokenizer(path: Path) -> None:
    """Raise ModelError if the directory ``path`` has no tokenizer."""
    if not any((path / name).is_file() for name in TOKENIZERS):
        raise ModelError(
            f"{path}: there is no tokenizer (tokenizer.json); copy the tokenizer's files from the model that "
            "this one was made from"
        )
