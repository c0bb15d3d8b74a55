"""Texts as sets of hashed shingles: n-grams of words, or of characters.

Whole blocks of texts are hashed by NumPy on the bytes of their Arrow column. Measured on 200,000 passages of
real text, this and the signatures take less CPU time than splitting the texts in Python, which any library
for MinHash needs first (benchmarks/filters_minhash.py).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Literal

from .words import SIGN, SIGNS, sign_between, words_and_signs

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

Shingles = Literal["words", "characters"]

#: Bits of a shingle's hash. The other 10 bits of a word hold the text's place in its block, so that one sort
#: of plain integers makes the sets of a block.
HASH_BITS = 54
BLOCK_ROWS = 1 << (64 - HASH_BITS)
#: Texts are hashed in blocks of about so many bytes, which stay in the processor's cache.
BLOCK_BYTES = 1 << 18
#: An odd multiplier with well mixed bits (2**64 divided by the golden ratio).
PRIME = 0x9E37_79B9_7F4A_7C15
_INVERSE = pow(PRIME, -1, 1 << 64)
_SPACE = 32
#: What signs become among the bytes of words.
_SIGN = 1


@dataclass(frozen=True, slots=True)
class Sets:
    """Sets of hashes, one after another. ``hashes``: uint64, ascending within each set. ``offsets``: int64
    ``(sets + 1,)``."""

    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Hashes per set, int64 ``(sets,)``."""
        import numpy as np

        return np.diff(self.offsets)

    def take(self, sets: NDArray[np.int64]) -> Sets:
        """Return the sets with these numbers, in this order."""
        import numpy as np

        sizes = self.sizes[sets]
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        place = np.repeat(self.offsets[:-1][sets] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Sets(self.hashes[place], offsets)


def shingle_sets(texts: pa.LargeStringArray, kind: Shingles, n: int) -> Sets:
    """Return the set of shingles of each text. No text may be null.

    Words are those of :func:`words_and_signs`, of which a sign belongs to the word after it. Characters are
    NFKC and case folded too, with white space as one space. A text with fewer than ``n`` of them gets two
    hashes of the exact text: such texts are equal or have nothing in common.
    """
    import numpy as np

    found = [_block(block, kind, n) for block in _blocks(texts)]
    if not found:
        return Sets(np.zeros(0, np.uint64), np.zeros(1, np.int64))
    sizes = np.concatenate([each.sizes for each in found])
    return Sets(np.concatenate([each.hashes for each in found]), np.concatenate(([0], np.cumsum(sizes))))


def _blocks(texts: pa.LargeStringArray) -> Iterator[pa.LargeStringArray]:
    """Consecutive texts, at most ``BLOCK_ROWS`` of them, and about ``BLOCK_BYTES`` or one text."""
    import numpy as np

    edges = _offsets(texts)
    start = 0
    while start < len(texts):
        stop = int(np.searchsorted(edges, edges[start] + BLOCK_BYTES, side="right")) - 1
        stop = max(start + 1, min(stop, start + BLOCK_ROWS, len(texts)))
        yield texts.slice(start, stop - start)
        start = stop


def _offsets(texts: pa.LargeStringArray) -> NDArray[np.int64]:
    import numpy as np

    return np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]


def _block(texts: pa.LargeStringArray, kind: Shingles, n: int) -> Sets:
    import numpy as np

    atoms, offsets = _words(texts) if kind == "words" else _characters(texts)
    owner = np.repeat(np.arange(len(texts), dtype=np.uint64), np.diff(offsets))
    positions = max(len(atoms) - n + 1, 0)
    hashed = np.zeros(positions, np.uint64)
    for shift in range(n if positions else 0):
        hashed *= np.uint64(PRIME)
        hashed += atoms[shift : shift + positions]
    mix(hashed)
    inside = owner[:positions] == owner[len(owner) - positions :]
    keys = [_key(owner[:positions][inside], hashed[inside])]
    for row in np.flatnonzero(np.diff(offsets) < n).tolist():
        keys.append(_key(np.uint64(row), _exact(texts[row].as_py())))
    key = np.concatenate(keys)
    key.sort()
    key = key[np.concatenate((np.ones(min(len(key), 1), bool), key[1:] != key[:-1]))]
    rows = np.arange(len(texts) + 1, dtype=np.uint64)
    edges = np.searchsorted(key, rows[:-1] << np.uint64(HASH_BITS))
    return Sets(key & np.uint64((1 << HASH_BITS) - 1), np.concatenate((edges, [len(key)])))


def _key(row: NDArray[np.uint64] | np.uint64, hashed: NDArray[np.uint64]) -> NDArray[np.uint64]:
    import numpy as np

    return (row << np.uint64(HASH_BITS)) | (hashed >> np.uint64(64 - HASH_BITS))


def _exact(text: str) -> NDArray[np.uint64]:
    import numpy as np
    import xxhash

    return np.frombuffer(xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass")), "<u8")


def _words(texts: pa.LargeStringArray) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hashes of the texts' words, in order, and the offsets of the texts in them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.string_is_ascii(texts)
    if not pc.all(plain).as_py():
        folded = [" ".join(words_and_signs(text)) for text in texts.filter(pc.invert(plain)).to_pylist()]
        texts = pc.replace_with_mask(texts, pc.invert(plain), pa.array(folded, pa.large_string()))
    edges = _offsets(texts)
    raw = bytes(memoryview(texts.buffers()[2] or b"")[edges[0] : edges[-1]])
    edges = edges - edges[0]
    letters = np.frombuffer(raw.translate(_word_bytes()), np.uint8)
    if not len(letters):
        return np.zeros(0, np.uint64), np.zeros(len(texts) + 1, np.int64)
    # A word begins where a letter follows no letter of the same text; it ends likewise.
    inside = letters > _SPACE
    begins, ends = inside.copy(), inside.copy()
    begins[1:] &= ~inside[:-1]
    ends[:-1] &= ~inside[1:]
    first, last = edges[:-1][np.diff(edges) > 0], edges[1:][np.diff(edges) > 0] - 1
    begins[first], ends[last] = inside[first], inside[last]
    start, stop = np.flatnonzero(begins), np.flatnonzero(ends) + 1
    hashes, offsets = _hash_spans(letters, start, stop), np.searchsorted(start, edges)
    _add_signs(hashes, raw, letters, start, stop, offsets)
    signs = letters[start] == SIGN.encode()[0]  # of texts that are not ASCII
    hashes[1:][signs[:-1]] ^= hashes[:-1][signs[:-1]]
    return hashes[~signs], offsets - np.concatenate(([0], np.cumsum(signs)))[offsets]


def _add_signs(
    hashes: NDArray[np.uint64],
    raw: bytes,
    letters: NDArray[np.uint8],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> None:
    """Change the hashes of the words, from ``start`` to ``stop``, that stand after a sign in a text of ASCII.
    ``offsets``: of the texts in them.
    """
    import numpy as np

    after = np.searchsorted(start, np.flatnonzero(letters == _SIGN))
    begins_text = np.zeros(len(start) + 1, bool)
    begins_text[offsets] = True  # no sign stands before the first word of a text, or after its last
    after = after[(np.diff(after, prepend=-1) > 0) & ~begins_text[after]]
    operands = (stop - start == 1) | (letters[start] <= ord("9"))
    after = after[operands[after - 1] & operands[after]]
    kinds = raw.translate(_KINDS)
    gaps = zip((stop[after - 1] - 1).tolist(), (start[after] + 1).tolist())
    hashes[after] ^= np.fromiter((_HASHES[kinds[first:last]] for first, last in gaps), np.uint64, len(after))


class _Hashes(dict[bytes, int]):
    """The hash of the sign in each gap between two words, as :func:`sign_between` has it; 0 without one."""

    def __missing__(self, gap: bytes) -> int:
        import numpy as np

        sign = np.frombuffer(sign_between(gap.decode("latin-1")).encode(), np.uint8)
        hashed = int(_hash_spans(sign, np.zeros(1, np.int64), np.array([len(sign)]))[0]) if len(sign) else 0
        if len(self) < _MOST_GAPS:
            self[gap] = hashed
        return hashed


_HASHES = _Hashes()
_MOST_GAPS = 1 << 16
#: Makes gaps alike that differ only in the letters or digits at their ends.
_KINDS = bytes.maketrans(
    f"{digits}{ascii_letters}_".encode(), b"0" * len(digits) + b"a" * (len(ascii_letters) + 1)
)


def _hash_spans(
    letters: NDArray[np.uint8], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Hash each span of the bytes: a polynomial modulo 2**64, by one running sum per piece of the bytes."""
    import numpy as np

    hashes = np.zeros(len(start), np.uint64)
    done = 0
    while done < len(start):  # a piece ends with a word, so that memory depends on the longest word only
        origin = int(start[done])
        until = max(done + 1, int(np.searchsorted(stop, origin + 2 * BLOCK_BYTES, side="right")))
        piece = letters[origin : int(stop[until - 1])]
        terms = _random_bytes()[piece]
        terms *= _powers(len(piece), PRIME)
        sums = np.zeros(len(piece) + 1, np.uint64)
        np.cumsum(terms, out=sums[1:])
        left = start[done:until] - origin
        hashed = sums[stop[done:until] - origin]
        hashed -= sums[left]
        hashed *= _powers(len(piece), _INVERSE)[left]
        hashes[done:until] = hashed
        done = until
    return mix(hashes)


def _characters(texts: pa.LargeStringArray) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The code points of the texts, as :func:`_words` returns words."""
    import numpy as np

    folded = [_folded(text) for text in texts.to_pylist()]
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in folded], dtype=np.int64)))
    points = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), "<u4")
    return mix(points.astype(np.uint64) + np.uint64(PRIME)), offsets


def _folded(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of each value over all 64, in place: a bijection. Returns the same array."""
    import numpy as np

    for _ in range(2):
        values ^= values >> np.uint64(32)
        values *= np.uint64(0xD6E8_FEB8_6659_FD93)
    values ^= values >> np.uint64(32)
    return values


@cache
def _word_bytes() -> bytes:
    """What each byte becomes: lower case if it is of a word, else ``_SIGN`` or a space. UTF-8 stays."""
    other = {ord(sign): _SIGN for sign in SIGNS}
    return bytes(
        byte if byte >= 128 or chr(byte).isalnum() or byte == ord("_") else other.get(byte, _SPACE)
        for byte in bytes(range(256)).lower()
    )


@cache
def _random_bytes() -> NDArray[np.uint64]:
    import numpy as np

    return mix(np.arange(1, 257, dtype=np.uint64) * np.uint64(PRIME))


def _powers(count: int, base: int) -> NDArray[np.uint64]:
    """``base`` to the powers 0 … ``count`` - 1, modulo 2**64."""
    usual = 2 * BLOCK_BYTES
    return _cached_powers(usual, base)[:count] if count <= usual else _computed_powers(count, base)


def _computed_powers(count: int, base: int) -> NDArray[np.uint64]:
    import numpy as np

    powers = np.ones(count, np.uint64)
    known = 1
    while known < count:
        more = min(known, count - known)
        powers[known : known + more] = powers[:more] * np.uint64(pow(base, known, 1 << 64))
        known += more
    return powers


_cached_powers = cache(_computed_powers)
