"""Where a text holds a quotation, whatever its spaces, quotation marks and formatting."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

_SAME = {
    **dict.fromkeys("“”„‟«»〝〞＂", '"'),
    **dict.fromkeys("‘’‚‛‹›`´′", "'"),
    **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
}
#: Formatting of Markdown, and characters without a shape.
_NOTHING = frozenset("*`\u00ad\u200b\u200c\u200d\u2060\ufeff")
#: A word that is divided at the end of a line.
_DIVIDED = re.compile(r"(?<=[^\W\d_])[-\u2010]\s*\n\s*(?=[^\W\d_])")
#: Where a quotation leaves something out, or ends before the next one.
_BREAK = re.compile(r"\s*(?:\[\s*(?:\.\.\.|…)\s*\]|\.\.\.|…|\n)\s*")
#: What a quotation may begin and end with beyond the text.
_OUTER = " \"'.,;:"


@dataclass(frozen=True, slots=True)
class QuotePlace:
    """A quotation in a text: the first character, and the one after the last."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Normal:
    """A text in its normal form. ``places``: of each character, where it is from in the text."""

    text: str
    places: tuple[int, ...]

    @classmethod
    def of(cls, text: str, join: bool = False) -> Normal:
        """``join``: words that are divided at the end of a line are put together."""
        made: list[str] = []
        places: list[int] = []
        hidden = (
            {place for found in _DIVIDED.finditer(text) for place in range(*found.span())} if join else ()
        )
        for place, letter in enumerate(text):
            for each in _normal(letter) if place not in hidden else "":
                if each != " " or (made and made[-1] != " "):
                    made.append(each)
                    places.append(place)
        return cls("".join(made), tuple(places))

    def find(self, quote: str) -> QuotePlace | None:
        """The first place of a quotation in normal form that does not cut a word."""
        start = self.text.find(quote) if quote else -1
        while start >= 0:
            end = start + len(quote)
            if not (_cuts(self.text, start) or _cuts(self.text, end)):
                return QuotePlace(self.places[start], self.places[end - 1] + 1)
            start = self.text.find(quote, start + 1)
        return None


@cache
def _normal(letter: str) -> str:
    if letter in _NOTHING:
        return ""
    if letter.isspace():
        return " "
    same = _SAME.get(letter)
    return same if same is not None else unicodedata.normalize("NFKC", letter).casefold()


def _cuts(text: str, place: int) -> bool:
    return 0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum()


def quoted_places(quote: str, text: str, min_words: int) -> list[QuotePlace] | str:
    """The places of a quotation, or of its parts if it leaves something out, or why the text lacks it."""
    within = [Normal.of(text), Normal.of(text, join=True)]
    whole = _place(quote, within, min_words)
    if isinstance(whole, QuotePlace):
        return [whole]
    parts = [part for part in _BREAK.split(quote) if _as_quote(part)]
    if len(parts) < 2:
        return whole
    found = [_place(part, within, min_words) for part in parts]
    missing = next((place for place in found if isinstance(place, str)), None)
    return missing or [place for place in found if isinstance(place, QuotePlace)]


def _place(quote: str, within: Sequence[Normal], min_words: int) -> QuotePlace | str:
    words = _as_quote(quote)
    if len(re.findall(r"\w+", words)) < min_words:
        return f"the quotation {_shown(quote)} has fewer than {min_words} words"
    places = (text.find(words) for text in within)
    return next((place for place in places if place is not None), None) or f"the text lacks {_shown(quote)}"


def _as_quote(part: str) -> str:
    return Normal.of(part).text.strip(_OUTER)


def _shown(part: str) -> str:
    text = " ".join(part.split())
    return repr(text if len(text) <= 80 else text[:80] + "…")
