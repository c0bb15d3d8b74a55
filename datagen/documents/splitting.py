"""Cuts texts where their structure allows: between sections, blocks, sentences, words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Characters of a token, where no tokenizer is named.
CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A piece of a text. ``start``: its first character in the text."""

    start: int
    text: str

    @property
    def stop(self) -> int:
        return self.start + len(self.text)


class Splitter:
    """Cuts texts into pieces of at most ``size`` tokens, of which neighbors share at most ``overlap``.

    ``tokenizer``: None counts ``CHARACTERS`` characters as a token.
    """

    def __init__(self, tokenizer: Tokenizer | None, size: int, overlap: int) -> None:
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        self._tokenizer, self._size = tokenizer, size
        if tokenizer is None:
            self._plain = TextSplitter(size * CHARACTERS, overlap * CHARACTERS)
            self._markdown = MarkdownSplitter(size * CHARACTERS, overlap * CHARACTERS)
        else:
            self._plain = TextSplitter.from_huggingface_tokenizer(tokenizer, size, overlap)
            self._markdown = MarkdownSplitter.from_huggingface_tokenizer(tokenizer, size, overlap)

    def count(self, text: str) -> int:
        """The tokens of a text."""
        if self._tokenizer is None:
            return -(-len(text) // CHARACTERS)
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def markdown(self, text: str) -> list[TextPiece]:
        """Cut Markdown; its headings are read from the text."""
        return [TextPiece(start, piece) for start, piece in self._markdown.chunk_indices(text)]

    def plain(self, text: str, headings: Sequence[Mapping[str, Any]] = ()) -> list[TextPiece]:
        """Cut plain text, at ``headings`` (rows with ``start``) before all else."""
        return [
            TextPiece(first + start, piece)
            for first, last in self._sections(text, headings)
            for start, piece in self._plain.chunk_indices(text[first:last])
        ]

    def _sections(self, text: str, headings: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
        """The spans between headings; neighbors that fit into one piece stay together."""
        ends = sorted({heading["start"] for heading in headings if heading["start"] > 0} | {len(text)})
        first = last = 0
        for end in ends:
            if last > first and self.count(text[first:end]) > self._size:
                yield first, last
                first = last
            last = end
        yield first, last
