"""Index of word n-grams: which evaluation items share n-grams with a text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .ngrams import Words, hash_words, ngrams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Shortest n-gram, in words, that identifies a text (the minimum of GPT-3).
SHORTEST = 8

#: A column of texts, and whether its texts may match as a whole (as prompts do).
Column = tuple[Sequence[str | None], bool]


class NgramIndex:
    """Index of the n-grams of evaluation items.

    ``columns``: the texts of the items, one text per item and column (or None). A text of at least n words is
    indexed by its n-grams. A text of 8 to n - 1 words is indexed as one n-gram of its own length. If the
    column may match as a whole, its texts are also indexed as a whole. n-grams in more than
    ``max_document_frequency`` items are left out: ``ignored`` counts them. ``unseen``: the items that nothing
    is indexed of.
    """

    def __init__(self, columns: Sequence[Column], n: int, max_document_frequency: int | None = None) -> None:
        import numpy as np

        self.n = n
        self.whole: dict[bytes, int] = {}
        self.items = len(columns[0][0]) if columns else 0
        self.lengths: set[int] = set()
        hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for texts, whole in columns:
            words = hash_words(texts)
            for length in [n, *range(SHORTEST, n)]:
                found, owner = ngrams(words, length)
                # Texts of exactly this many words, or all of at least n words.
                wanted = (words.lengths >= n) if length == n else (words.lengths == length)
                mine = wanted[owner]
                if mine.any():
                    self.lengths.add(length)
                    hashes.append(found[mine])
                    owners.append(owner[mine])
            if whole:
                for item, key in enumerate(_wholes(words)):
                    if key:
                        self.whole.setdefault(key, item)
        pairs = np.unique(
            np.stack((np.concatenate(hashes), np.concatenate(owners).view(np.uint64)), axis=1), axis=0
        )
        grams, first, frequency = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        common = np.zeros(len(grams), dtype=bool)
        if max_document_frequency is not None:
            common = frequency > max_document_frequency
        self.ignored = int(common.sum())
        # Item lists one after another, in the order of the sorted hashes: those of gram g lie at
        # start[g] : start[g] + size[g].
        self.grams, self.start, self.size = grams[~common], first[~common], frequency[~common]
        self.owner = pairs[:, 1].view(np.int64) if len(pairs) else np.zeros(0, np.int64)
        counted = self.owner[np.repeat(~common, frequency)]
        self.grams_of = np.bincount(counted, minlength=self.items)
        found_whole = np.zeros(self.items, dtype=bool)
        found_whole[list(self.whole.values())] = True
        self.unseen = int(((self.grams_of == 0) & ~found_whole).sum())

    def overlap(self, columns: Sequence[Column]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return, for each row, the largest share of an item's n-grams that it contains, and the item's
        index.

        ``columns``: the texts of the rows, as for the index. Returns float64 and int64 ``(rows,)``: 0 and -1
        without a match, 1 if a whole text matches. Of several items with equal shares, the first is returned.
        """
        import numpy as np

        rows = len(columns[0][0]) if columns else 0
        share, best = np.zeros(rows), np.full(rows, -1, dtype=np.int64)
        held = [np.zeros((0, 2), dtype=np.int64)]
        for texts, whole in columns:
            words = hash_words(texts)
            held += [self._held(words, length) for length in sorted(self.lengths)]
            if whole:
                for place, key in enumerate(_wholes(words)):
                    if key in self.whole:
                        share[place], best[place] = 1.0, self.whole[key]
        row, gram = np.unique(np.concatenate(held), axis=0).T
        # Each (row, n-gram) expands to one (row, item) per item with that n-gram.
        size = self.size[gram]
        skipped = np.repeat(np.cumsum(size) - size, size)
        item = self.owner[np.repeat(self.start[gram], size) + np.arange(int(size.sum())) - skipped]
        pair, count = np.unique(np.repeat(row, size) * max(self.items, 1) + item, return_counts=True)
        row, item = np.divmod(pair, max(self.items, 1))
        value = count / self.grams_of[item]
        order = np.lexsort((item, -value, row))
        row, item, value = row[order], item[order], value[order]
        first = np.flatnonzero(np.diff(row, prepend=-1))
        row, item, value = row[first], item[first], value[first]
        better = value > share[row]
        share[row[better]], best[row[better]] = value[better], item[better]
        return share, best

    def _held(self, words: Words, length: int) -> NDArray[np.int64]:
        """(row, index of the n-gram) of the n-grams of this length that are in the index; ``(hits, 2)``."""
        import numpy as np

        hashes, owner = ngrams(words, length)
        if not len(self.grams):
            return np.zeros((0, 2), dtype=np.int64)
        place = np.minimum(np.searchsorted(self.grams, hashes), len(self.grams) - 1)
        hit = self.grams[place] == hashes
        return np.stack((owner[hit], place[hit]), axis=1)


def _wholes(words: Words) -> list[bytes]:
    """Return the words of each text as one key; empty for a text without words."""
    edges = words.offsets.tolist()
    return [words.hashes[start:stop].tobytes() for start, stop in pairwise(edges)]
