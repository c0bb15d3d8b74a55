"""Figures of the words, word n-grams and lines of many texts at once, with NumPy over Arrow lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .lists import flatten

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces (words or lines) of ``rows`` texts, in order.

    ``texts``: all pieces, ``(pieces,)``. ``row``: the text of each piece, int64. ``length``: its characters,
    float64. ``code``: a number that is equal for equal pieces, int64.
    """

    texts: pa.Array
    row: NDArray[np.int64]
    length: NDArray[np.float64]
    code: NDArray[np.int64]
    rows: int

    def count(self, which: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Pieces per text, of those in the mask."""
        chosen = self.row if which is None else self.row[which]
        found: NDArray[np.float64] = np.bincount(chosen, minlength=self.rows).astype(np.float64)
        return found

    def characters(self, which: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Characters per text, of the pieces in the mask."""
        weights = self.length if which is None else self.length * which
        sums = np.bincount(self.row, weights=weights, minlength=self.rows)
        found: NDArray[np.float64] = sums.astype(np.float64)
        return found

    def matching(self, pattern: str) -> NDArray[np.bool_]:
        """Which pieces a regular expression matches."""
        import pyarrow.compute as pc

        found: NDArray[np.bool_] = pc.match_substring_regex(self.texts, pattern).to_numpy(
            zero_copy_only=False
        )
        return found.astype(bool)

    def repeated(self) -> NDArray[np.bool_]:
        """Which pieces occurred before in their text."""
        return _seen_before(self.row, self.code)


def words(texts: pa.ChunkedArray) -> Pieces:
    """The words: runs of characters between white space."""
    import pyarrow.compute as pc

    return _pieces(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts)))


def lines(texts: pa.ChunkedArray) -> Pieces:
    """The lines that are not blank, without the white space around them."""
    import pyarrow.compute as pc

    return _pieces(pc.split_pattern(texts, "\n"))


def _pieces(parts: pa.ChunkedArray) -> Pieces:
    import pyarrow.compute as pc

    values, lengths = flatten(parts, "score: quality")
    row = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    values = pc.utf8_trim_whitespace(values)
    length = pc.utf8_length(values).to_numpy(zero_copy_only=False).astype(np.float64)
    filled = length > 0
    if not filled.all():
        values, row, length = values.filter(_mask(filled)), row[filled], length[filled]
    code = pc.dictionary_encode(values).indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Pieces(values, row, length, code, len(lengths))


def _mask(which: NDArray[np.bool_]) -> pa.Array:
    import pyarrow as pa

    return pa.array(which)


def _seen_before(row: NDArray[np.int64], code: NDArray[np.int64]) -> NDArray[np.bool_]:
    order = np.lexsort((code, row))  # stable: equal pieces stay in the order of the text
    before = np.zeros(len(row), dtype=bool)
    if len(row) > 1:
        same = (row[order][1:] == row[order][:-1]) & (code[order][1:] == code[order][:-1])
        before[order[1:]] = same
    return before


def _ngrams(pieces: Pieces, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(index of the first word, number of the n-gram) of each n-gram that lies within one text."""
    starts = np.flatnonzero(pieces.row[: len(pieces.row) - n + 1] == pieces.row[n - 1 :])
    code = pieces.code[starts]
    for offset in range(1, n):
        pairs = code * (int(pieces.code.max(initial=0)) + 1) + pieces.code[starts + offset]
        code = np.unique(pairs, return_inverse=True)[1].astype(np.int64)  # stays small: no overflow
    return starts, code


def repeated_ngram_share(pieces: Pieces, n: int) -> NDArray[np.float64]:
    """Share of the characters of words that lie in an n-gram which occurred before; 0 for short texts."""
    covered = np.zeros(len(pieces.row), dtype=bool)
    if len(pieces.row) >= n:
        starts, code = _ngrams(pieces, n)
        again = starts[_seen_before(pieces.row[starts], code)]
        for offset in range(n):
            covered[again + offset] = True
    return share(pieces.characters(covered), pieces.characters())


def top_ngram_share(pieces: Pieces, n: int) -> NDArray[np.float64]:
    """Share of the characters of words that the most frequent n-gram makes up, if it occurs twice."""
    most = np.zeros(pieces.rows)
    if len(pieces.row) >= n:
        starts, code = _ngrams(pieces, n)
        length = sum(pieces.length[starts + offset] for offset in range(n))
        keys = pieces.row[starts] * (int(code.max(initial=0)) + 1) + code
        _, first, times = np.unique(keys, return_index=True, return_counts=True)
        size = np.where(times > 1, times * np.asarray(length)[first], 0.0)
        np.maximum.at(most, pieces.row[starts[first]], size)
    return np.minimum(share(most, pieces.characters()), 1.0)


def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """``part / whole``, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
