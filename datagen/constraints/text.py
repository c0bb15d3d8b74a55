"""How responses are measured: words, sentences, lines and paragraphs."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]*]*\s+|\n+")


def words(text: str) -> list[str]:
    """The words in order; an apostrophe or a hyphen inside a word does not split it."""
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """The sentences: pieces with a word in them, ended by ``.``, ``!``, ``?`` and a space, or a line's end."""
    return [piece for piece in _SENTENCE_END.split(text) if words(piece)]


def lines(text: str) -> list[str]:
    """The lines that are not blank, without the white space around them."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def paragraphs(text: str) -> list[str]:
    """The blocks of text between blank lines."""
    return [block.strip() for block in re.split(r"\n[^\S\n]*\n", text) if block.strip()]


def occurrences(word: str, text: str) -> int:
    """How often ``word`` (or a phrase) stands in ``text`` as whole words, in any case."""
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, flags=re.IGNORECASE))
