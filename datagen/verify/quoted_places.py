"""Where a text holds a quotation, whatever its spaces, quotation marks and formatting."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
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
#: Where a quotation leaves something out.
_LEFT_OUT = re.compile(r"\s*(?:\[\s*(?:\.\.\.|…)\s*\]|\.\.\.|…)\s*")
#: A number that goes on past its point or comma.
_LONG_NUMBER = re.compile(r"\d[.,]\d")
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

    def find(self, quote: str, after: int) -> QuotePlace | None:
        """The first place of a quotation in normal form that cuts no word or number, from ``after`` on."""
        start = self.text.find(quote, bisect_left(self.places, after)) if quote else -1
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
    """Whether a word or a number goes on at a place."""
    if not 0 < place < len(text):
        return False
    word = text[place - 1].isalnum() and text[place].isalnum()
    return word or _LONG_NUMBER.search(text[max(place - 2, 0) : place + 2]) is not None


def quoted_places(quote: str, text: str, min_words: int) -> list[QuotePlace] | str:
    """The places of a quotation, or of its parts if it leaves something out, or why the text lacks it.

    Each line is a quotation. The parts of one that leaves something out stand in its order.
    """
    within = [Normal.of(text), Normal.of(text, join=True)]
    whole = _place(quote, within, min_words, 0)
    if isinstance(whole, QuotePlace):
        return [whole]
    lines = [[part for part in _LEFT_OUT.split(line) if _as_quote(part)] for line in quote.split("\n")]
    if sum(map(len, lines)) < 2:
        return whole
    found: list[QuotePlace] = []
    for parts in lines:
        after = 0
        for part in parts:
            place = _place(part, within, min_words, after)
            if isinstance(place, str):
                return place
            found.append(place)
            after = place.stop
    return found


def _place(quote: str, within: Sequence[Normal], min_words: int, after: int) -> QuotePlace | str:
    words = _as_quote(quote)
    if len(re.findall(r"\w+", words)) < min_words:
        return f"the quotation {_shown(quote)} has fewer than {min_words} words"
    places = [place for text in within if (place := text.find(words, after)) is not None]
    if places:
        return min(places, key=lambda place: place.start)
    earlier = any(text.find(words, 0) for text in within)
    return f"the text lacks {_shown(quote)}{' after the part before it' if earlier else ''}"


def _as_quote(part: str) -> str:
    return Normal.of(part).text.strip(_OUTER)


def _shown(part: str) -> str:
    text = " ".join(part.split())
    return repr(text if len(text) <= 80 else text[:80] + "…")
