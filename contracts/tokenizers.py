"""The tokenizers that steps count with: of a file, or of a model's weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def tokenizer_file(path: str) -> Path:
    """The ``tokenizer.json`` at ``path``, or in it. Raises DataError if there is none."""
    found = Path(path).expanduser()
    found = found / "tokenizer.json" if found.is_dir() else found
    if not found.is_file():
        raise DataError(f"tokenizer: there is no file '{found}': name a tokenizer.json or its folder")
    return found


def tokenizer_of_file(path: str) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``, without padding and truncation. Raises DataError."""
    from tokenizers import Tokenizer

    file = tokenizer_file(path)
    try:
        made = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises a bare Exception
        raise DataError(f"tokenizer: '{file}' is not a tokenizer.json ({error})") from error
    return _whole(made)


def tokenizer_of_weights(directory: Path) -> Tokenizer:
    """The fast tokenizer of weights on disk, without padding and truncation. Raises DataError if they have
    none."""
    from transformers import AutoTokenizer

    made = getattr(AutoTokenizer.from_pretrained(directory, local_files_only=True), "backend_tokenizer", None)
    if made is None:
        raise DataError("tokens are counted by a model with a fast tokenizer (tokenizer.json)")
    return _whole(made)


def _whole(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
