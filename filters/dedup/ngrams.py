"""Hashed word n-grams of many texts at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_PRIME = 0x9E37_79B9_7F4A_7C15


def words_of(text: str) -> list[str]:
    """The words of a text: runs of letters, digits and underscores, NFKC and case folded."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as hashed words.

    ``hashes``: uint64, the words of all texts in sequence. ``offsets``: int64 ``(texts + 1,)``, where each
    text starts and the last one ends.
    """

    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Words per text, int64 ``(texts,)``."""
        import numpy as np

        return np.diff(self.offsets)


def hash_words(texts: Sequence[str | None]) -> Words:
    """Hash each word of the texts to 64 bits, equally in every process; a null text has no words."""
    import numpy as np

    split = [words_of(text) if text else [] for text in texts]
    offsets = np.concatenate(([0], np.cumsum([len(words) for words in split], dtype=np.int64))).astype(
        np.int64
    )
    table = {
        word: int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        for word in set().union(*split)
    }
    flat = map(table.__getitem__, chain.from_iterable(split))
    return Words(np.fromiter(flat, np.uint64, int(offsets[-1])), offsets)


def ngrams(words: Words, n: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return (hash of each n-gram, index of its text), in order; no n-gram spans two texts.

    The hash is a polynomial of the words' hashes modulo 2**64, computed in n vector operations. Two
    different n-grams collide with a probability of about 2**-64.
    """
    import numpy as np

    positions = len(words.hashes) - n + 1
    if positions <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashed = np.full(positions, n, dtype=np.uint64)
    for shift in range(n):
        hashed = hashed * np.uint64(_PRIME) + words.hashes[shift : shift + positions]
        hashed ^= hashed >> np.uint64(29)
    owner = np.repeat(np.arange(len(words.offsets) - 1), words.lengths)
    inside = owner[:positions] == owner[n - 1 :]
    return hashed[inside], owner[:positions][inside]
