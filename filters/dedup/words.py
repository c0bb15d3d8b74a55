"""The words of a text, and the signs between them, as contamination and near-duplicates are found by them."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache

_WORD = re.compile(r"\w+")
#: Code points of Han and Kana, whose characters are words of their own.
_IDEOGRAPHS = (
    (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303C), (0x3041, 0x3096),
    (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x323AF),
)  # fmt: skip
#: Blocks of Thai and Lao, Burmese, and Khmer: their letters are words of their own, their digits are not.
_BLOCKS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F))
#: Marks are looked for before it: patterns of sets are slow with characters beyond.
_PLANE = 0x10000
_GLYPHS = "".join(map(chr, range(0xFE00, 0xFE10)))

#: Signs that stand for themselves wherever they are between two words.
_PLAIN = "+<=>^%"
#: Signs that have another meaning in prose or Markdown. They count with white space (or an operand) on both
#: sides; a hyphen counts between two numbers, or as the sign of one.
_OPERATOR = re.compile(
    r"(?<=[\w)\]}])[*/|&~]+(?=[\w(\[{])|(?<= )[*/|&~]+(?= )"
    r"|(?<=\d)-(?=\d)|(?<=\d )-(?= \d)|(?<=[ (\[{=<>+*/^,])-(?=\d)"
)
_SYMBOLS = ("Sm", "Sc")
#: Arrows, of which some are other symbols (So), as emoji and bullets are, which are no signs.
_ARROWS = range(0x2190, 0x2200)
#: One sign for those that are written in several ways.
_SAME = str.maketrans("−‐‑–➖×∗⋅✕✖÷∕⁄➗➕", "-----*****////+", _GLYPHS)
#: The ASCII characters that may be signs.
SIGNS = f"{_PLAIN}*/|&~-"
#: What signs begin with, and what ASCII signs become: characters for private use, which no word has.
SIGN = chr(0xE000)
_PRIVATE = str.maketrans({sign: chr(ord(SIGN) + ord(sign)) for sign in SIGNS})


def words_of(text: str) -> list[str]:
    """The words of a text, NFKC and case folded: runs of letters, digits, underscores and their marks.

    Each character of Han, Kana, Thai, Lao, Khmer and Burmese, which put no spaces between words, is a word.
    """
    text = _folded(text)
    return word_pattern(text).findall(text)


def words_and_signs(text: str) -> list[str]:
    """:func:`words_of`, with what :func:`sign_between` finds between two operands as a word too.

    Operands are numbers, and names of one character and its marks. Signs between other words tell few
    texts apart.
    """
    text = _folded(text)
    if not _any_sign().search(text):
        return word_pattern(text).findall(text)
    found: list[str] = []
    before = False
    for sign, word in _signs_and_words(text):
        operand = len(_bare(word)) == 1 or word[0].isdecimal()
        found += [sign, word] if sign and before and operand else [word]
        before = operand
    return found


def signs_of(text: str) -> str:
    """The signs of a text, each with the number of its word; empty without any."""
    parts = enumerate(_signs_and_words(_folded(text)))
    return " ".join(f"{place}{sign}" for place, (sign, _) in parts if sign)


def word_pattern(text: str) -> re.Pattern[str]:
    """What matches the words of the text as they are written."""
    return _WORD if text.isascii() or not _marked().search(text) else _any_word()


@lru_cache(1 << 12)
def sign_between(gap: str) -> str:
    """``SIGN`` and the signs of arithmetic, code, currencies and arrows between two words; empty without any.

    ``gap``: from the last character of the word before to the first one of the word after. White space
    does not count, and neither does formatting: what begins a line, backticks, and Markdown's emphasis.
    """
    line = " ".join(gap.partition("\n")[0].translate(_SAME).split())
    operators = {place for each in _OPERATOR.finditer(line) for place in range(*each.span())}
    found = "".join(
        char
        for place, char in enumerate(line)
        if char in _PLAIN or place in operators or (char > "\x7f" and _is_symbol(char))
    )
    return SIGN + found.translate(_PRIVATE) if found else ""


def _signs_and_words(folded: str) -> Iterator[tuple[str, str]]:
    end = 0
    before = ""
    for word in word_pattern(folded).finditer(folded):
        gap = folded[end : word.start()]
        plain = not before or gap in ("", " ")
        yield "" if plain else sign_between(_bare(before)[-1] + gap + word[0][0]), word[0]
        end, before = word.end(), word[0]


def _bare(word: str) -> str:
    """The word without its marks."""
    return word if word.isascii() else _any_mark().sub("", word)


def _is_symbol(char: str) -> bool:
    return unicodedata.category(char) in _SYMBOLS or ord(char) in _ARROWS


def _folded(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


def _of_categories(*categories: str) -> str:
    """The characters of these categories before ``_PLANE``, but for those that choose a glyph, as a set."""
    found = map(chr, range(0x80, _PLANE))
    return "".join(char for char in found if unicodedata.category(char) in categories and char not in _GLYPHS)


@cache
def _own() -> str:
    """The characters that are words of their own, as a set of a pattern."""
    blocks = (chr(code) for first, last in _BLOCKS for code in range(first, last + 1))
    letters = "".join(char for char in blocks if char.isalpha())
    return letters + "".join(f"{chr(first)}-{chr(last)}" for first, last in _IDEOGRAPHS)


@cache
def _marks() -> str:
    return _of_categories("Mn", "Mc")


@cache
def _marked() -> re.Pattern[str]:
    """What no text holds of which ``_WORD`` finds the words."""
    return re.compile(f"[{_own()}{_marks()}]")


@cache
def _any_mark() -> re.Pattern[str]:
    return re.compile(f"[{_marks()}]")


@cache
def _any_word() -> re.Pattern[str]:
    own, marks = _own(), _marks()
    return re.compile(rf"[{own}][{marks}]*|[^\W{own}]+(?:[{marks}]+[^\W{own}]*)*")


@cache
def _any_sign() -> re.Pattern[str]:
    """What a text holds if there are signs between its words."""
    arrows = f"{chr(_ARROWS[0])}-{chr(_ARROWS[-1])}"
    symbols = f"{_of_categories(*_SYMBOLS)}{arrows}✕✖➗➕{chr(_PLANE)}-{chr(sys.maxunicode)}"
    return re.compile(rf"[{re.escape(_PLAIN)}*/|&~{symbols}]|[-−‐‑–➖]\s*\d")
