"""What all encoders of rows share: the model's tokenizer, and the tokens at which a server stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from .examples import TokenSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Encoder:
    """Encodes rows with the tokenizer of the model at ``path``. A subclass says what is read from a row.

    ``path``: its directory. ``stops``: the tokens at which a server stops.
    """

    def __init__(self, path: Path) -> None:
        from transformers import AutoTokenizer

        self.path = path
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path)
        self.stops = _stops(self.tokenizer, path)

    @property
    def template_text(self) -> str | dict[str, str] | None:
        """The chat template that a student is saved with (or several by name), None if it has none."""
        template: str | dict[str, str] | None = self.tokenizer.chat_template
        return template

    @property
    def vocabulary(self) -> int:
        """Number of tokens of the tokenizer, including special tokens."""
        return len(self.tokenizer)

    def show(self, tokens: TokenSequence) -> str:
        """Return the trained text, with its special tokens, for display."""
        text = self.tokenizer.decode([token for token, on in zip(tokens.ids, tokens.trained) if on])
        return str(text)


def _stops(tokenizer: PreTrainedTokenizerBase, path: Path) -> frozenset[int]:
    """Return the tokens at which a server stops: those of the tokenizer and of the generation config."""
    stops = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    settings = path / "generation_config.json"
    if settings.exists():
        more = json.loads(settings.read_text()).get("eos_token_id")
        stops |= set(more) if isinstance(more, list) else set() if more is None else {more}
    return frozenset(stops)
