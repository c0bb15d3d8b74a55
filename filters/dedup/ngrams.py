"""Hashed word n-grams of many texts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from .words import words_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_PRIME = 0x9E37_79B9_7F4A_7C15
#: Odd, so that its powers can be divided by, modulo 2**64.
_BASE = 0xD6E8_FEB8_6659_FD93


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


def hash_words(texts: Sequence[str | None] | pa.ChunkedArray) -> Words:
    """Hash each word of the texts to 64 bits, equally in every process; a null text has no words.

    The words are those of :func:`words_of`. ASCII texts are hashed byte by byte in vector operations; Python
    folds only the others. The hash of a word is a polynomial of its bytes modulo 2**64, mixed.
    """
    import numpy as np

    data, edges = _folded(texts)
    inside = _is_word()[data]
    starts_anew = np.zeros(len(data) + 1, dtype=bool)
    starts_anew[edges] = True
    before = np.concatenate(([False], inside))
    after = np.concatenate((inside, [False]))
    start = np.flatnonzero(after & (~before | starts_anew))
    stop = np.flatnonzero(before & (~after | starts_anew))
    powers, inverses = _powers(len(data) + 1)
    sums = np.zeros(len(data) + 1, dtype=np.uint64)
    np.cumsum(_byte_values()[data] * powers[: len(data)], out=sums[1:])
    hashes = (sums[stop] - sums[start]) * inverses[start] + (stop - start).astype(np.uint64)
    return Words(_mixed(hashes), np.searchsorted(start, edges).astype(np.int64))


def ngrams(words: Words, n: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return (hash of each n-gram, index of its text), in order; no n-gram spans two texts.

    Two different n-grams collide with a probability of about 2**-64.
    """
    places, owner = places_of(words, n)
    return ngrams_at(words, places, n), owner


def places_of(words: Words, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (first word of each n-gram, index of its text), in order; no n-gram spans two texts."""
    import numpy as np

    owner = np.repeat(np.arange(len(words.offsets) - 1), words.lengths)
    positions = max(0, len(owner) - n + 1)
    places = np.flatnonzero(owner[:positions] == owner[n - 1 :]) if positions else np.zeros(0, np.int64)
    return places, owner[places]


def ngrams_at(words: Words, places: NDArray[np.int64], n: int) -> NDArray[np.uint64]:
    """Return the hashes of the n-grams that start at these words."""
    import numpy as np

    hashed = np.full(len(places), n, dtype=np.uint64)
    for shift in range(n):
        hashed = hashed * np.uint64(_PRIME) + words.hashes[places + shift]
        hashed ^= hashed >> np.uint64(29)
    return hashed


def eight_words(words: Words) -> NDArray[np.uint64]:
    """Return the hash of the eight words from each word on, of any text; uint64 ``(words - 7,)``.

    In three vector operations per word, to find out quickly which n-grams are worth a look.
    """
    import numpy as np

    hashed = words.hashes
    for width in (1, 2, 4):
        hashed = hashed[:-width] * np.uint64(_PRIME) + hashed[width:]
        hashed ^= hashed >> np.uint64(29)
    return hashed


def _folded(texts: Sequence[str | None] | pa.ChunkedArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of all texts, and where each starts and the last ends.

    A text that is not ASCII is replaced by its folded words with spaces between them.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    column = texts if isinstance(texts, pa.ChunkedArray) else pa.array(list(texts), pa.large_string())
    array = pc.fill_null(column.cast(pa.large_string()), "")
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    other = pc.invert(pc.string_is_ascii(array))
    if pc.any(other).as_py():
        folded = [" ".join(words_of(text)) for text in array.filter(other).to_pylist()]
        array = pc.replace_with_mask(array, other, pa.array(folded, pa.large_string()))
    _, offsets, data = array.buffers()
    edges = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    if not len(array) or data is None:
        return np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64)
    return np.frombuffer(data, np.uint8)[edges[0] : edges[-1]], edges - edges[0]


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    import numpy as np

    for factor in (0xFF51_AFD7_ED55_8CCD, 0xC4CE_B9FE_1A85_EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(factor)
    return values ^ (values >> np.uint64(33))


@cache
def _is_word() -> NDArray[np.bool_]:
    """Whether a byte is part of a word: letters, digits, underscores, and all of what is not ASCII."""
    import numpy as np

    return np.array([code >= 128 or chr(code).isalnum() or code == ord("_") for code in range(256)])


@cache
def _byte_values() -> NDArray[np.uint64]:
    """A fixed number for each byte, equal for upper and lower case."""
    import numpy as np

    lower = [ord(chr(code).lower()) if code < 128 else code for code in range(256)]
    return _mixed(np.array(lower, np.uint64) * np.uint64(_PRIME) + np.uint64(1))


_POWERS: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []


def _powers(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The powers of the base and of its inverse, at least ``size`` of them."""
    import numpy as np

    if not _POWERS or len(_POWERS[0][0]) < size:
        room = 1 << max(16, (size - 1).bit_length())
        found = []
        for base in (_BASE, pow(_BASE, -1, 2**64)):
            factors = np.full(room, base, dtype=np.uint64)
            factors[0] = 1
            found.append(np.multiply.accumulate(factors))
        _POWERS[:] = [(found[0], found[1])]
    return _POWERS[0]
