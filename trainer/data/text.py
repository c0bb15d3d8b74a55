"""Encoding of plain texts for continued pretraining: every token is trained on.

A text begins with what the tokenizer puts before a text (Llama's ``<|begin_of_text|>``), or else with the
token that ends texts, as if another had come before it; and it ends with that token. So the first token of
a text is predicted too. A text that is longer than a sequence is cut. Each piece but the first begins with
the last token of the piece before it, which is only read there: so the tokens at the cuts are trained on,
and each once.
"""

from __future__ import annotations

from pathlib import Path

from ...contracts.errors import ModelError
from ...contracts.nearest import did_you_mean
from .encoder import Encoder
from .examples import TokenSequence
from .read_rows import read_text
from .unfit import Unfit


class TextEncoder(Encoder):
    """Encodes texts with a model's own tokenizer, into sequences of at most ``length`` tokens.

    ``end``: the token between texts; None for the tokenizer's ``eos_token``. Raises ModelError if there is no
    such token.
    """

    def __init__(self, path: Path, *, length: int, end: str | None = None) -> None:
        super().__init__(path)
        self.length = length
        self.end = self._end(end, path)
        self._start = self._added_before() or (self.end,)

    def encode(self, text: object) -> list[TokenSequence]:
        """Encode a text as one sequence, or as several if it is too long. Raises Unfit for another value."""
        text = read_text(text)
        # Not verbose: it would warn of texts that are longer than the model's positions.
        body = self.tokenizer.encode(text, add_special_tokens=False, verbose=False)
        if self.end in body:
            raise Unfit(
                "end of text inside",
                f"its text contains {self.tokenizer.convert_ids_to_tokens(self.end)!r}, which ends a text: "
                "remove it, or name another token in text_end",
            )
        ids = (*self._start, *body, self.end)
        pieces = [ids[start : start + self.length] for start in range(0, len(ids) - 1, self.length - 1)]
        return [TokenSequence(piece, (False, *[True] * (len(piece) - 1))) for piece in pieces]

    def _end(self, given: str | None, path: Path) -> int:
        if given is None:
            if self.tokenizer.eos_token_id is None:
                raise ModelError(
                    f"{path}: its tokenizer has no eos_token: name the end of a text in text_end"
                )
            return int(self.tokenizer.eos_token_id)
        known = self.tokenizer.get_vocab()
        if given not in known:
            special = [str(token) for token in self.tokenizer.added_tokens_decoder.values()]
            meant = did_you_mean(given, special) or "."
            raise ModelError(
                f"{path}: text_end: {given!r} is no token of its tokenizer{meant} Its special tokens are "
                f"{', '.join(special[:12])}"
            )
        return int(known[given])

    def _added_before(self) -> tuple[int, ...]:
        """Return the tokens that the tokenizer itself puts before a text."""
        bare = self.tokenizer.encode("a", add_special_tokens=False)
        whole = self.tokenizer.encode("a")
        places = (place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
        return tuple(whole[: next(places, 0)])
