"""Which texts of a column are code, as :func:`looks_like_code` decides: most of them without Python."""

from __future__ import annotations

import keyword
import re
from functools import cache
from itertools import groupby, product
from typing import TYPE_CHECKING

from .same_text import looks_like_code

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: What ``str.strip`` strips.
BLANKS = "".join(map(chr, [*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)]))
BLANKS += "\u2028\u2029\u202f\u205f\u3000"
_SUSPECT = r"[`{}<>=\\(\[;\n]"
#: The signs of code of `same_text`, as far as characters are ASCII.
_CODE = r"[`{}<>=\\]|\w[(\[]|;[ \t]*(?:\n|\z)|\n(?:\t|  )[ \t]*[^\s\x0b\x1c-\x1f\x{80}-\x{10ffff}]"
#: A sign of code that only Python can tell for sure.
_DOUBTFUL = r"[^\x00-\x7f][(\[]|\n(?:\t|  )[ \t]*[^\x00-\x7f]"
#: Outside of a literal or a comment, Python has no such sign. Some of them end most sentences.
_NEVER_PYTHON = r"[?!$\x{2010}-\x{2027}\x{3001}-\x{3003}\x{3008}-\x{3011}\x{ff01}\x{ff0c}\x{ff1a}\x{ff1f}]"
#: A name before a quotation mark that may be part of a string.
_STRING_PREFIXES = [
    "".join(cased)
    for prefix in ("r", "u", "b", "f", "t", "br", "rb", "fr", "rf", "tr", "rt")
    for cased in product(*((letter, letter.upper()) for letter in prefix))
]


def are_code(texts: pa.Array) -> NDArray[np.bool_]:
    """Return for each text (large strings without null) whether it looks like code; shape ``(rows,)``."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found = np.zeros(len(texts), bool)
    suspects = np.flatnonzero(pc.match_substring_regex(texts, _SUSPECT).to_numpy(zero_copy_only=False))
    stripped = pc.utf8_trim(texts.take(pa.array(suspects)), BLANKS)
    found[suspects] = _matches(stripped, _CODE)
    unsure = np.zeros(len(texts), bool)
    unsure[suspects] = _matches(stripped, _DOUBTFUL)
    rest = np.flatnonzero(~found)
    unsure[rest] |= ~_matches(texts.take(pa.array(rest)), _never_python())
    unsure &= ~found
    for row in np.flatnonzero(unsure).tolist():
        found[row] = looks_like_code(texts[row].as_py())
    return found


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    matches: NDArray[np.bool_] = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    return matches


@cache
def _never_python() -> str:
    """A pattern of texts that are no code, if they have no sign of it.

    They begin with two words that are no keywords; or Python cannot parse them, since before any quotation
    mark or comment there is a sign that Python lacks, or a name before another one, a number or the quotation
    mark (*it's*), or a sentence ends the text.
    """
    name = other_word([*keyword.kwlist, *keyword.softkwlist, *_STRING_PREFIXES])
    two = rf"{name}[ \t]+{name}(?:[^\w\x{{80}}-\x{{10ffff}}]|\z)"
    start = r"[\x09-\x0d\x1c-\x20]*"
    return (
        rf"\A{start}{two}"
        rf"|\A[^'\"#]*(?:{_NEVER_PYTHON}"
        rf"|(?:\A|[ \t\n/:]|[A-Za-z_]\.){name}(?:[ \t]+{name}(?:[ \t\n.,:?!]|\z)|[ \t]+[0-9]|['\"]))"
        r"|\A[^'\"#]*[A-Za-z]\.\s*\z"
    )


def other_word(words: list[str]) -> str:
    """A regular expression for a name in ASCII, not beginning with a digit, that is none of ``words``."""
    return _other(sorted(set(words)), first=True)


def _other(words: list[str], first: bool) -> str:
    """Continue a name that so far is a prefix of all ``words`` (given without it)."""
    letters = "A-Za-z_" if first else r"\w"
    nonempty = [word for word in words if word]
    by_letter = {
        letter: [word[1:] for word in group] for letter, group in groupby(nonempty, lambda word: word[0])
    }
    if not by_letter:
        return r"\w+" if "" in words else r"\w*"
    free = "".join(sorted(set(map(chr, range(128))) - set(by_letter)))
    free = "".join(each for each in free if re.fullmatch(f"[{letters}]", each))
    ways = [rf"[{free}]\w*", *(letter + _other(rest, first=False) for letter, rest in by_letter.items())]
    ended = not first and "" not in words
    return "(?:" + "|".join(ways) + ")" + ("?" if ended else "")
