"""Index of word n-grams: which evaluation items share n-grams with a text."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from sys import byteorder
from typing import TYPE_CHECKING

from .ngrams import Words, eight_words, hash_words, ngrams_at, places_of
from .words import signs_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: Shortest n-gram, in words, that identifies a text (the minimum of GPT-3).
SHORTEST = 8
#: Slots of the first look-up per n-gram of the index: of the other n-grams, at most one in this many passes.
SLOTS = 32

#: A column of texts, and whether its texts may match as a whole (as prompts do).
Column = tuple["Sequence[str | None] | pa.ChunkedArray", bool]


class NgramIndex:
    """Index of the n-grams of evaluation items.

    ``columns``: the texts of the items, one text per item and column (or None). A text of at least n words is
    indexed by its n-grams. A text of 8 to n - 1 words is indexed as one n-gram of its own length. If the
    column may match as a whole, its texts are also indexed as a whole, and a row's share of their n-grams
    counts by itself, so that no long answer hides a question. Signs between words count in whole texts only.
    n-grams in more than ``max_document_frequency`` items are left out: ``ignored`` counts them. ``unseen``:
    the items that nothing is indexed of. ``only_whole``: those of which no n-gram is.
    """

    def __init__(self, columns: Sequence[Column], n: int, max_document_frequency: int | None = None) -> None:
        import numpy as np

        self.n = n
        self.whole: dict[bytes, int] = {}
        self.items = len(columns[0][0]) if columns else 0
        self.lengths: set[int] = set()
        self._words: set[bytes] = set()
        has_whole = np.zeros(self.items, dtype=bool)
        hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        firsts = [np.zeros(0, np.uint64)]
        # An owner is an item with all its texts, or, after these, with those of one column.
        groups = 1
        for texts, whole in columns:
            alone = whole and len(columns) > 1
            words = hash_words(texts)
            starts = eight_words(words)
            for length in [n, *range(SHORTEST, n)]:
                places, owner = places_of(words, length)
                # Texts of exactly this many words, or all of at least n words.
                wanted = (words.lengths >= n) if length == n else (words.lengths == length)
                mine = wanted[owner]
                if mine.any():
                    self.lengths.add(length)
                    for group in (0, groups) if alone else (0,):
                        hashes.append(ngrams_at(words, places[mine], length))
                        owners.append(owner[mine] + group * self.items)
                    firsts.append(starts[places[mine]])
            groups += alone
            if whole:
                for item, (key, text) in enumerate(zip(_wholes(words), texts)):
                    if key:
                        has_whole[item] = True
                        self._words.add(key)
                        self.whole.setdefault(key + _signs(text), item)
        pairs = np.unique(
            np.stack((np.concatenate(hashes), np.concatenate(owners).view(np.uint64)), axis=1), axis=0
        )
        grams, first, size = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        self.owner = pairs[:, 1].view(np.int64) if len(pairs) else np.zeros(0, np.int64)
        common = np.zeros(len(grams), dtype=bool)
        if max_document_frequency is not None and len(grams):
            every = (self.owner < self.items).astype(np.int64)
            common = np.add.reduceat(every, first) > max_document_frequency
        self.ignored = int(common.sum())
        # Lists of owners one after another, in the order of the sorted hashes: those of gram g lie at
        # start[g] : start[g] + size[g].
        self.grams, self.start, self.size = grams[~common], first[~common], size[~common]
        self.grams_of = np.bincount(self.owner[np.repeat(~common, size)], minlength=groups * self.items)
        no_gram = self.grams_of[: self.items] == 0
        self.unseen, self.only_whole = int((no_gram & ~has_whole).sum()), int((no_gram & has_whole).sum())
        self._whole_starts = np.array([int.from_bytes(key[:8], byteorder) for key in self._words], np.uint64)
        bits = max(10, (SLOTS * sum(map(len, firsts))).bit_length())
        self._shift = np.uint64(64 - bits)
        self._starts = np.zeros(1 << bits, dtype=bool)
        self._starts[np.concatenate(firsts) >> self._shift] = True

    @property
    def digest(self) -> str:
        """A digest of what is indexed."""
        parts = (self.grams, self.start, self.size, self.owner, self.grams_of)
        content = b"".join(
            [
                *(part.tobytes() for part in parts),
                *self.whole,
                *map(str.encode, map(str, self.whole.values())),
            ]
        )
        return blake2b(content, digest_size=8).hexdigest()

    def overlap(
        self, columns: Sequence[Column]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return, for each row, the largest share of an item's n-grams that it contains, or of those of one
        of its texts that may match as a whole; the item's index; and whether a whole text matches.

        ``columns``: the texts of the rows, as for the index. Returns float64, int64 and bool ``(rows,)``: 0,
        -1 and false without a match; the share is 1 if a whole text matches. Of several items with equal
        shares, the first is returned.
        """
        import numpy as np

        rows = len(columns[0][0]) if columns else 0
        share, best = np.zeros(rows), np.full(rows, -1, dtype=np.int64)
        held = [np.zeros((0, 2), dtype=np.int64)]
        for texts, whole in columns:
            words = hash_words(texts)
            held += self._held(words)
            if whole and self.whole:
                self._match_wholes(texts, words, share, best)
        equal = best >= 0
        row, gram = np.unique(np.concatenate(held), axis=0).T
        # Each (row, n-gram) expands to one (row, owner) per owner of that n-gram.
        size = self.size[gram]
        skipped = np.repeat(np.cumsum(size) - size, size)
        owner = self.owner[np.repeat(self.start[gram], size) + np.arange(int(size.sum())) - skipped]
        owners = max(len(self.grams_of), 1)
        pair, count = np.unique(np.repeat(row, size) * owners + owner, return_counts=True)
        row, owner = np.divmod(pair, owners)
        value, item = count / self.grams_of[owner], owner % max(self.items, 1)
        order = np.lexsort((item, -value, row))
        row, item, value = row[order], item[order], value[order]
        first = np.flatnonzero(np.diff(row, prepend=-1))
        row, item, value = row[first], item[first], value[first]
        better = value > share[row]
        share[row[better]], best[row[better]] = value[better], item[better]
        return share, best, equal

    def _held(self, words: Words) -> list[NDArray[np.int64]]:
        """(row, index of the n-gram) of the n-grams that are in the index; each ``(hits, 2)``."""
        import numpy as np

        if not len(self.grams) or len(words.hashes) < SHORTEST:
            return []
        places = np.flatnonzero(self._starts[eight_words(words) >> self._shift])
        row = np.searchsorted(words.offsets, places, side="right") - 1
        found = []
        for length in sorted(self.lengths):
            inside = places + length <= words.offsets[row + 1]
            hashes = ngrams_at(words, places[inside], length)
            gram = np.minimum(np.searchsorted(self.grams, hashes), len(self.grams) - 1)
            hit = self.grams[gram] == hashes
            found.append(np.stack((row[inside][hit], gram[hit]), axis=1))
        return found

    def _match_wholes(
        self,
        texts: Sequence[str | None] | pa.ChunkedArray,
        words: Words,
        share: NDArray[np.float64],
        best: NDArray[np.int64],
    ) -> None:
        import numpy as np

        filled = np.flatnonzero(words.lengths)
        starts = words.offsets[filled]
        for place in filled[np.isin(words.hashes[starts], self._whole_starts)].tolist():
            key = words.hashes[words.offsets[place] : words.offsets[place + 1]].tobytes()
            if key in self._words and (key := key + _signs(texts[place])) in self.whole:
                share[place], best[place] = 1.0, self.whole[key]


def _wholes(words: Words) -> list[bytes]:
    """Return the words of each text as one key; empty for a text without words."""
    edges = words.offsets.tolist()
    return [words.hashes[start:stop].tobytes() for start, stop in pairwise(edges)]


def _signs(text: str | pa.Scalar) -> bytes:
    return signs_of(text if isinstance(text, str) else text.as_py()).encode()
