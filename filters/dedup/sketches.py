"""What MinHash needs of each row: its set of shingles, and the keys of its bands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...contracts.stored_rows import ROW, StoredRows
from .jaccard import jaccard
from .lsh import band_keys, candidates, number_bits
from .shingles import Sets, Shingles, mix, shingle_sets

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sketching:
    """How sketches are made. Only sketches that were made alike can be compared."""

    shingles: Shingles
    ngram: int
    bands: int
    rows_per_band: int

    def columns(self, texts: pa.LargeStringArray) -> dict[str, pa.Array]:
        """Return the sketch of each text; none may be null.

        ``digest`` (uint64): of the set. ``size`` (int64): of the set. ``band_0`` … (uint64): the keys of the
        bands, each by itself, so that one can be read without the others. ``hashes`` (large list of uint64):
        the set.
        """
        import numpy as np
        import pyarrow as pa

        sets = shingle_sets(texts, self.shingles, self.ngram)
        keys = np.ascontiguousarray(band_keys(sets, self.bands, self.rows_per_band).T)
        digest = np.zeros(0, np.uint64)
        if len(texts):
            digest = mix(np.add.reduceat(mix(sets.hashes.copy()), sets.offsets[:-1]))
        return {
            "digest": pa.array(digest),
            "size": pa.array(sets.sizes),
            **{name: pa.array(key) for name, key in zip(band_names(self.bands), keys)},
            "hashes": pa.LargeListArray.from_arrays(pa.array(sets.offsets), pa.array(sets.hashes)),
        }


def sets_of(table: pa.Table) -> Sets:
    """The sets of a table of sketches."""
    import numpy as np
    import pyarrow as pa

    lists = table.column("hashes").combine_chunks()
    if isinstance(lists, pa.ChunkedArray):  # of no chunk
        return Sets(np.zeros(0, np.uint64), np.zeros(1, np.int64))
    offsets = lists.offsets.to_numpy()
    return Sets(lists.flatten().to_numpy(), offsets - offsets[0])


def band_names(bands: int) -> list[str]:
    """The columns of the keys of so many bands."""
    return [f"band_{band}" for band in range(bands)]


def number_type(rows: int) -> Any:
    """The type of the numbers of so many rows: int32 where it does."""
    import numpy as np

    return np.int32 if rows < 1 << 31 else np.int64


class Sketches:
    """The sketches of a step's rows, on disk, with a few numbers of each in memory.

    ``row``: the row's number in the step. ``order``: the places of the sketches in order of preference.
    ``leader``: the place of the most preferred sketch with the same set. All of :func:`number_type`.
    """

    def __init__(self, stored: StoredRows, bands: int) -> None:
        import numpy as np

        self.stored, self.bands, number = stored, bands, number_type(stored.num_rows)
        self.size = self._column("size", number)
        self.row = self._column(ROW, number)
        prefer = self._column("prefer", np.float64)
        alike = len(prefer) == 0 or prefer.min() == prefer.max()
        self.order = np.arange(len(prefer), dtype=number) if alike else np.argsort(-prefer, kind="stable")
        self.order = self.order.astype(number, copy=False)
        del prefer
        self.leader = self._leaders(number)

    def _leaders(self, number: Any) -> NDArray[Any]:
        """The place of the most preferred sketch with the same set, for each sketch."""
        import numpy as np

        digest = self._column("digest", np.uint64)[self.order]
        alike = np.argsort(digest, kind="stable").astype(number, copy=False)
        digest = digest[alike]
        starts = np.flatnonzero(digest[1:] != digest[:-1]) + 1
        del digest
        starts = np.concatenate(([0], starts))[: len(self)]
        alike = self.order[alike]
        leader = np.empty(len(self), number)
        leader[alike] = np.repeat(alike[starts], np.diff(starts, append=len(alike)))
        return leader

    def _column(self, name: str, kind: Any) -> NDArray[Any]:
        """A column of all sketches. Read in batches, so that it is never held twice."""
        import numpy as np

        found, start = np.empty(self.stored.num_rows, kind), 0
        for batch in self.stored.batches(
            ["size" if name == ROW else name]
        ):  # each batch has its rows' numbers
            found[start : start + batch.num_rows] = batch.column(name).to_numpy()
            start += batch.num_rows
        return found

    def __len__(self) -> int:
        return len(self.row)

    @property
    def leaders(self) -> NDArray[np.int64]:
        """The places of the leaders, in order of preference."""
        chosen: NDArray[np.int64] = self.order[self.leader[self.order] == self.order]
        return chosen

    def ranks(self) -> NDArray[Any]:
        """The place of each sketch among the leaders; -1 for one that does not lead."""
        import numpy as np

        leaders = self.leaders
        rank = np.full(len(self), -1, leaders.dtype)
        rank[leaders] = np.arange(len(leaders), dtype=leaders.dtype)
        return rank

    def candidates(self) -> NDArray[np.uint64]:
        """The pairs of leaders that share a band: their ranks, ``earlier << 32 | later``."""
        rank = self.ranks()
        bits = number_bits(int(rank.max(initial=-1)) + 1)
        return candidates(self._bands(rank, bits), bits)

    def _bands(self, rank: NDArray[Any], bits: int) -> Iterator[NDArray[np.uint64]]:
        """The keys of each band, with the ranks of their rows in the last ``bits`` bits.

        As many bands are held at a time as fit in half of the memory, but at least one.
        """
        import numpy as np

        leaders, names, shift = int(np.count_nonzero(rank >= 0)), band_names(self.bands), np.uint64(bits)
        limit = self.stored.memory
        at_once = self.bands if limit is None else max(1, limit // 2 // (8 * max(1, leaders)))
        for some in (names[first : first + at_once] for first in range(0, self.bands, at_once)):
            held = np.empty((len(some), leaders), np.uint64)
            start = filled = 0
            for batch in self.stored.batches(some):
                number = rank[start : start + batch.num_rows]
                leads = number >= 0
                number = number[leads].astype(np.uint64)
                for band, name in zip(held, some):
                    key = batch.column(name).to_numpy()[leads]
                    band[filled : filled + len(key)] = (key >> shift << shift) | number
                start, filled = start + batch.num_rows, filled + len(number)
            yield from held

    def sets(self, places: NDArray[np.int64]) -> Sets:
        """The sets of these sketches (ascending places)."""
        import numpy as np

        offsets = np.concatenate(([0], np.cumsum(self.size[places])))
        hashes = np.empty(offsets[-1], np.uint64)
        for first, sets in self.batches():
            low, high = np.searchsorted(places, [first, first + len(sets.offsets) - 1])
            hashes[offsets[low] : offsets[high]] = sets.take(places[low:high] - first).hashes
        return Sets(hashes, offsets)

    def batches(self) -> Iterator[tuple[int, Sets]]:
        """The sets in batches, each with the place of its first."""
        first = 0
        for batch in self.stored.batches(["hashes"]):
            yield first, sets_of(batch)
            first += batch.num_rows

    def similarity(self, lefts: NDArray[np.int64], rights: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the Jaccard similarity of pairs of sketches (their places); float64 ``(pairs,)``.

        As many sets of the left side are held as fit in a quarter of the memory, and the others pass by.
        """
        import numpy as np

        found = np.zeros(len(lefts))
        needed = np.unique(lefts)
        ends = np.cumsum(8 * self.size[needed])
        budget = int(ends[-1]) if self.stored.memory is None and len(ends) else (self.stored.memory or 0) // 4
        start = 0
        while start < len(needed):
            limit = budget + (int(ends[start - 1]) if start else 0)
            stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
            block = needed[start:stop]
            pairs = np.flatnonzero((lefts >= block[0]) & (lefts <= block[-1]))
            found[pairs] = self.similarity_to(
                self.sets(block), np.searchsorted(block, lefts[pairs]), rights[pairs]
            )
            start = stop
        return found

    def similarity_to(
        self, others: Sets, lefts: NDArray[np.int64], rights: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the Jaccard similarity of pairs of a set of ``others`` and a sketch."""
        import numpy as np

        found = np.zeros(len(lefts))
        order = np.argsort(rights, kind="stable")
        passed = rights[order]
        for first, sets in self.batches():
            low, high = np.searchsorted(passed, [first, first + len(sets.offsets) - 1])
            mine = order[low:high]
            found[mine] = jaccard(others, lefts[mine], sets, rights[mine] - first)
        return found
