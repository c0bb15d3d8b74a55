"""Finds the long passages that texts share character by character.

Two texts share a passage of at least ``length`` characters where they have an equal window of that length.
There is a window per character, so most are left out first: each window elects one of the *grams* of half its
length in it, the one with the smallest digest (a minimizer; Schleimer, Wilkerson and Aiken, Winnowing, 2003).
Equal windows elect equal grams, so only windows whose gram occurs in several rows can be shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ...contracts.stored_rows import ROW
from ..columns import text_column
from .first_occurrence import HIGH, LOW

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    _Combine: TypeAlias = Callable[[NDArray[np.uint64], NDArray[np.uint64]], NDArray[np.uint64]]

WHO = "dedup: substring"
#: The number of a window's first character.
PLACE = "place"
GRAM = "gram"
#: Texts are read together up to this many characters. A longer text is read in overlapping pieces.
_BLOCK = 1 << 19
#: Odd factors for the left and the right part of a window, one pair per half of a digest.
_FACTORS = ((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F), (0xD6E8FEB86659FD93, 0xA0761D6478BD642F))


def elected_grams(table: pa.Table, column: str, length: int) -> pa.Table:
    """Return the grams that each row's windows elect, each at least once: ``_row`` and ``gram`` (int64)."""
    import numpy as np
    import pyarrow as pa

    rows, grams = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for piece in _pieces(table, column, length):
        elected, row = _elected(piece.codes, length)[piece.inside], piece.rows
        new = np.ones(len(row), bool)
        new[1:] = (elected[1:] != elected[:-1]) | (row[1:] != row[:-1])
        rows.append(row[new])
        grams.append(elected[new].view(np.int64))
    return pa.table({ROW: np.concatenate(rows), GRAM: np.concatenate(grams)})


def shared_grams(table: pa.Table) -> pa.Table:
    """Return the grams that occur in several rows, in a partition by ``gram``."""
    import numpy as np
    import pyarrow as pa

    gram, row = table[GRAM].to_numpy(), table[ROW].to_numpy()
    return pa.table({GRAM: np.unique(gram[1:][(gram[1:] == gram[:-1]) & (row[1:] != row[:-1])])})


def windows_with(table: pa.Table, column: str, length: int, grams: NDArray[np.int64]) -> pa.Table:
    """Return the windows that elect one of the ``grams`` (ascending): ``_row``, ``place``, ``high``, ``low``.

    ``high`` and ``low``: the 128 bits of the window's digest.
    """
    import numpy as np
    import pyarrow as pa

    found: list[list[NDArray[np.int64]]] = [[np.empty(0, np.int64)] for _ in range(4)]
    for piece in _pieces(table, column, length):
        elected = _elected(piece.codes, length)[piece.inside].view(np.int64)
        among = np.searchsorted(grams, elected)
        chosen = grams[np.minimum(among, len(grams) - 1)] == elected if len(grams) else among < 0
        halves = [
            _digests(piece.codes, length, half)[piece.inside][chosen].view(np.int64) for half in range(2)
        ]
        for parts, part in zip(found, (piece.rows[chosen], piece.places[chosen], *halves)):
            parts.append(part)
    return pa.table(dict(zip((ROW, PLACE, HIGH, LOW), map(np.concatenate, found))))


def shared_windows(table: pa.Table) -> pa.Table:
    """Return the windows that occur in several rows, in a partition by ``high``."""
    import numpy as np
    import pyarrow as pa

    columns = [table[name].to_numpy() for name in (HIGH, LOW, ROW)]
    order = np.lexsort(columns[::-1])
    high, low, row = (column[order] for column in columns)
    new = np.ones(len(order), bool)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    number = np.cumsum(new) - 1
    several = np.zeros(int(new.sum()), bool)
    several[number[1:][~new[1:] & (row[1:] != row[:-1])]] = True
    return table.take(pa.array(np.sort(order[several[number]])))


@dataclass(frozen=True)
class _Piece:
    """Texts, one after the other, and the windows that lie within one of them.

    ``codes``: uint64, one per character. ``inside``: the index of each window's first character in ``codes``.
    ``rows``: the number of its row. ``places``: the index of that character in its text.
    """

    codes: NDArray[np.uint64]
    inside: NDArray[np.int64]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]


def _pieces(table: pa.Table, column: str, length: int) -> Iterator[_Piece]:
    import numpy as np
    import pyarrow.compute as pc

    texts = text_column(table, column, WHO).combine_chunks()
    sizes = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    long = np.flatnonzero(sizes >= length)  # a shorter text has no window
    texts, sizes, rows = texts.take(long), sizes[long], table[ROW].to_numpy()[long]
    ends, first = np.cumsum(sizes), 0
    while first < len(rows):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] - sizes[first] + _BLOCK, side="right")))
        yield from _pieces_of(texts[first:last], sizes[first:last], rows[first:last], length)
        first = last


def _pieces_of(
    texts: pa.Array, sizes: NDArray[np.int64], rows: NDArray[np.int64], length: int
) -> Iterator[_Piece]:
    import numpy as np

    codes = np.frombuffer("".join(texts.to_pylist()).encode("utf-32-le"), np.uint32)
    ends = np.cumsum(sizes)
    for start in range(0, len(codes) - length + 1, _BLOCK):
        piece = codes[start : start + _BLOCK + length - 1].astype(np.uint64)
        inside = np.arange(len(piece) - length + 1)
        text = np.searchsorted(ends, inside + start, side="right")
        within = inside + start + length <= ends[text]
        inside, text = inside[within], text[within]
        yield _Piece(piece, inside, rows[text], inside + start - (ends - sizes)[text])


def _elected(codes: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """The gram of each window: the smallest digest of half as many characters in it."""
    import numpy as np

    size = length // 2
    return _over_windows(_digests(codes, size, 0), length - size + 1, np.minimum)


def _digests(codes: NDArray[np.uint64], length: int, half: int) -> NDArray[np.uint64]:
    """A 64-bit digest of each window, made of those of its two halves. The two ``half`` are independent."""
    import numpy as np

    left, right = map(np.uint64, _FACTORS[half])

    def joined(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint64]:
        mixed = first * left + (second ^ right)
        mixed ^= mixed >> np.uint64(32)
        mixed *= right
        mixed ^= mixed >> np.uint64(29)
        return mixed

    return _over_windows(joined(codes, codes[:1] * np.uint64(0)), length, joined)


def _over_windows(values: NDArray[np.uint64], length: int, combined: _Combine) -> NDArray[np.uint64]:
    """Combine the values of each window, in as many passes as its length has bits."""
    size = 1
    while 2 * size <= length:
        values = combined(values[:-size], values[size:])
        size *= 2
    rest = length - size
    return combined(values[: len(values) - rest], values[rest:]) if rest else values
