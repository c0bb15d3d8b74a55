"""A 128-bit digest of each of many texts, computed over whole columns of bytes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    #: Two halves of a digest per row: uint64, shape ``(rows, 2)``.
    Digests: TypeAlias = NDArray[np.uint64]

#: Bytes that must follow the last text, so that its last word can be read.
PADDING = 8
_WORDS = 64
#: A longer text is digested in pieces of this many bytes, and then the digests of its pieces.
_PIECE = 8 * _WORDS
#: Texts digested at once. Their sums stay in the cache.
_BLOCK = 8192
_LOW = 0xFFFFFFFF


def digest(data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Digests:
    """Digest the texts ``data[start : start + length]``. ``data`` has ``PADDING`` more bytes at its end.

    Each digest is four independent sums ``(sum(key * half) mod 2**64) >> 32`` over the 32-bit halves of the
    text's words, with random 64-bit keys: the strongly universal *multilinear* family (Lemire and Kaser,
    arXiv 1202.4961). Two different texts of a piece's length have an equal digest with probability 2**-128,
    whatever they are, and each level of pieces adds as much. Among 10 million rows there are 5e13 pairs, so
    the odds that any two are confused are about 1e-25. The keys are fixed, so that digests can be stored.
    """
    import numpy as np

    if not len(starts):
        return np.empty((0, 2), np.uint64)
    long = lengths > _PIECE
    if not long.any():
        return _of_short(data, starts, lengths)
    found = np.empty((len(starts), 2), np.uint64)
    found[~long] = _of_short(data, starts[~long], lengths[~long])
    found[long] = _of_pieces(data, starts[long], lengths[long])
    return found


def _of_pieces(data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Digests:
    """Digest the digests of each text's pieces, inverted: a text of those digests is another text."""
    import numpy as np

    pieces = -(-lengths // _PIECE)
    first = np.cumsum(pieces) - pieces
    offset = (np.arange(pieces.sum()) - np.repeat(first, pieces)) * _PIECE
    of_pieces = _of_short(
        data, np.repeat(starts, pieces) + offset, np.minimum(np.repeat(lengths, pieces) - offset, _PIECE)
    )
    joined = np.concatenate([of_pieces.view(np.uint8).ravel(), np.zeros(PADDING, np.uint8)])
    return ~digest(joined, first * 16, pieces * 16)


def _of_short(data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Digests:
    import numpy as np

    words = np.ndarray((len(data) - PADDING + 1,), "<u8", data, 0, (1,))  # a word from every byte on
    found = np.empty((len(starts), 2), np.uint64)
    for place in range(0, len(starts), _BLOCK):
        size = lengths[place : place + _BLOCK]
        order = np.argsort((_PIECE - size).astype(np.int16), kind="stable")  # the longest first
        sums = _sums(words, starts[place : place + _BLOCK][order], size[order])
        block = found[place : place + _BLOCK]
        block[order, 0] = (sums[0] >> np.uint64(32)) | (sums[1] & ~np.uint64(_LOW))
        block[order, 1] = (sums[2] >> np.uint64(32)) | (sums[3] & ~np.uint64(_LOW))
    return found


def _sums(
    words: NDArray[np.uint64], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> list[NDArray[np.uint64]]:
    """The four sums of each text. ``lengths``: descending, so the texts with a word are always the first."""
    import numpy as np

    keys, shorter = _keys(), -lengths
    sums = [(lengths + 1).astype(np.uint64) * key for key in keys[_WORDS, :4]]
    product = np.empty(len(starts), np.uint64)
    for place in range(-(-int(lengths[0]) // 8)):
        byte = 8 * place
        having = int(np.searchsorted(shorter, -byte))
        whole = int(np.searchsorted(shorter, -(byte + 8), side="right"))
        word = words[starts[:having] + byte]
        word[whole:] <<= (8 * (byte + 8 - lengths[whole:having])).astype(np.uint64)
        halves = word & np.uint64(_LOW), word >> np.uint64(32)
        for number, total in enumerate(sums):
            for half, key in zip(halves, keys[place, number::4]):
                np.multiply(half, key, out=product[:having])
                total[:having] += product[:having]
    return sums


@cache
def _keys() -> NDArray[np.uint64]:
    """Eight keys per word, and in the last row those of the length."""
    import numpy as np

    generator = np.random.Generator(np.random.Philox(key=0x6772697374))
    return generator.integers(0, 2**64, size=(_WORDS + 1, 8), dtype=np.uint64)
