"""Equality of values: prose by its words, code by its characters, conversations turn by turn."""

from __future__ import annotations

import ast
import keyword
import re
import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Literal

from .syntax_tree import program_key

#: How texts are compared: as prose, as code, as ``auto`` detects, as Python, or character by character.
Normalize = Literal["auto", "prose", "code", "python", "none"]

#: Signs of code: a backtick, a brace, a comparison or assignment operator, a backslash; a name before an
#: opening bracket; a line that ends with a semicolon; an indented line after the first.
_CODE = re.compile(r"[`{}<>=\\]|\w[(\[]|;[ \t]*(?:\n|$)|\n(?:\t|  )[ \t]*+\S")
#: Each sign of code contains one of these characters. This search is ten times as fast, and excludes
#: most prose.
_SUSPECT = re.compile(r"[`{}<>=\\(\[;\n]")
_TWO_WORDS = re.compile(r"(\w+)[ \t]+(\w+)")
_KEYWORDS = frozenset(keyword.kwlist)
#: A longer text without these signs is prose: it is not parsed.
LONGEST_LINE_OF_CODE = 1000


def value_key(value: object, text_key: Callable[[str], object]) -> object:
    """Return a hashable key that is equal for equal values; null fields count as missing."""
    if isinstance(value, str):
        return text_key(value)
    if isinstance(value, dict):
        kept = sorted((name, item) for name, item in value.items() if item is not None)
        return tuple((name, value_key(item, text_key)) for name, item in kept)
    if isinstance(value, (list, tuple)):
        return tuple(value_key(item, text_key) for item in value)
    return value


def text_key(normalize: Normalize, strip_punctuation: bool = False) -> Callable[[str], object]:
    """Return the function that makes the key of a text.

    The key of a text compared as code never equals that of a text compared as prose.
    """

    def prose(text: str) -> object:
        return normalize_prose(text, strip_punctuation=strip_punctuation)

    def code(text: str) -> object:
        return ("code", normalize_code(text))

    def auto(text: str) -> object:
        return code(text) if looks_like_code(text) else prose(text)

    def python(text: str) -> object:
        program = program_key(text)
        return code(text) if program is None else ("python", *program)

    ways: dict[Normalize, Callable[[str], object]] = {
        "auto": auto,
        "prose": prose,
        "code": code,
        "python": python,
        "none": str,
    }
    return ways[normalize]


def looks_like_code(text: str) -> bool:
    """Whether the text contains a sign of code (``_CODE``), or parses as more than words and numbers."""
    text = text.strip()
    if text.isalnum():
        return False
    if _SUSPECT.search(text) and _CODE.search(text):
        return True
    words = _TWO_WORDS.match(text)
    if len(text) > LONGEST_LINE_OF_CODE or (words and not _KEYWORDS & set(words.groups())):
        return False
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return not all(_only_words(line) for line in tree.body)


def _only_words(part: ast.AST) -> bool:
    """Whether it is a name, a number, several of them separated by commas, or ``Name: word``."""
    if isinstance(part, ast.Tuple):
        return all(_only_words(item) for item in part.elts)
    if isinstance(part, ast.AnnAssign):
        return part.value is None and _only_words(part.target) and _only_words(part.annotation)
    if isinstance(part, ast.Expr):
        return _only_words(part.value)
    return isinstance(part, (ast.Name, ast.Constant))


def normalize_code(text: str) -> str:
    """Normalize line ends to ``\\n``; strip trailing white space and surrounding blank lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def normalize_prose(text: str, *, strip_punctuation: bool = False) -> str:
    """Apply NFKC and case folding, collapse white space to single spaces, and strip it at both ends.

    ``strip_punctuation`` also removes the characters of the Unicode categories P*.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.casefold()
    if strip_punctuation:
        text = text.translate(punctuation())
    return " ".join(text.split())


@cache
def punctuation() -> dict[int, None]:
    """The characters of the Unicode categories P*, as ``str.translate`` removes them."""
    codes = range(sys.maxunicode + 1)
    return {code: None for code in codes if unicodedata.category(chr(code))[0] == "P"}
