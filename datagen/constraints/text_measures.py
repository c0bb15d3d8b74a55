"""Units of measurement of responses: words, sentences, lines and paragraphs."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]*]*\s+|\n+")


def words(text: str) -> list[str]:
    """Return the words in order; an apostrophe or hyphen inside a word does not split it."""
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """Return the sentences: pieces with a word, ended by ``.``, ``!`` or ``?`` and a space, or by a line
    end."""
    return [piece for piece in _SENTENCE_END.split(text) if words(piece)]


def lines(text: str) -> list[str]:
    """Return the lines that are not blank, stripped of white space."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def paragraphs(text: str) -> list[str]:
    """Return the blocks of text between blank lines."""
    return [block.strip() for block in re.split(r"\n[^\S\n]*\n", text) if block.strip()]


def occurrences(word: str, text: str) -> int:
    """Count ``word`` (or a phrase) in ``text`` as whole words, ignoring case."""
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, flags=re.IGNORECASE))
