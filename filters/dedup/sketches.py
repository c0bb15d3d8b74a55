"""What MinHash needs of each row: its set of shingles, and the keys of its bands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...contracts.stored_rows import ROW, StoredRows
from .jaccard import jaccard
from .lsh import band_keys, merged, number_bits
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

        ``digest`` (uint64): of the set. ``size`` (int64): of the set. ``keys`` (uint64 per band).
        ``hashes`` (large list of uint64): the set.
        """
        import numpy as np
        import pyarrow as pa

        sets = shingle_sets(texts, self.shingles, self.ngram)
        keys = band_keys(sets, self.bands, self.rows_per_band)
        digest = np.zeros(0, np.uint64)
        if len(texts):
            digest = mix(np.add.reduceat(mix(sets.hashes.copy()), sets.offsets[:-1]))
        return {
            "digest": pa.array(digest),
            "size": pa.array(sets.sizes),
            "keys": pa.FixedSizeListArray.from_arrays(pa.array(keys.reshape(-1)), self.bands),
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


def keys_of(table: pa.Table) -> NDArray[np.uint64]:
    """The band keys of a table of sketches; uint64 ``(rows, bands)``."""
    import numpy as np

    column = table.column("keys")
    parts = [np.zeros((0, column.type.list_size), np.uint64)]
    parts += [chunk.flatten().to_numpy().reshape(len(chunk), parts[0].shape[1]) for chunk in column.chunks]
    return np.concatenate(parts)


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

    @property
    def fit(self) -> bool:
        """Whether sets and keys of all rows fit in half of the step's memory."""
        held = 8 * (int(self.size.sum()) + len(self) * (2 * self.bands + 8))
        return self.stored.memory is None or held <= self.stored.memory // 2

    def keys(self, places: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The keys of these sketches, in this order; uint64 ``(bands, places)``, a band in one piece."""
        import numpy as np

        keys = np.empty((self.bands, len(self)), np.uint64)
        start = 0
        for batch in self.stored.batches(["keys"]):
            part = keys_of(batch)
            keys[:, start : start + len(part)] = part.T
            start += len(part)
        return np.take(keys, places, axis=1)

    def sets(self, places: NDArray[np.int64]) -> Sets:
        """The sets of these sketches (ascending places)."""
        import numpy as np

        taken = []
        for first, sets in self.batches():
            low, high = np.searchsorted(places, [first, first + len(sets.offsets) - 1])
            taken.append(sets.take(places[low:high] - first))
        sizes = np.concatenate([np.zeros(0, np.int64), *[each.sizes for each in taken]])
        hashes = np.concatenate([np.zeros(0, np.uint64), *[each.hashes for each in taken]])
        return Sets(hashes, np.concatenate(([0], np.cumsum(sizes))))

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


def spilled_pairs(sketches: Sketches, name: str) -> NDArray[np.uint64]:
    """:func:`lsh.candidates` by a grouping on disk: pairs of places, ``earlier << 32 | later``, in the
    order of the places among ``sketches.leaders``."""
    import functools

    import numpy as np

    bits = number_bits(len(sketches.leaders))
    keyed = sketches.stored.map(
        functools.partial(_one_row_per_band, bits=bits),
        ["keys", "digest", "prefer"],
        name=f"{name}-bands-{bits}",
    )
    grouped = keyed.group(_pairs_of_buckets, by="key", name=f"{name}-pairs-{bits}")
    leaders, number = sketches.leaders, sketches.row.dtype
    rank = np.empty(len(sketches), number)
    rank[leaders] = np.arange(len(leaders), dtype=number)
    rank = rank[sketches.leader]
    del leaders
    pairs = np.zeros(0, np.uint64)
    for batch in grouped.batches(["earlier", "later"]):
        earlier, later = (
            rank[np.searchsorted(sketches.row, batch.column(side).to_numpy().astype(number))].astype(
                np.uint64
            )
            for side in ("earlier", "later")
        )
        pairs = merged(pairs, (earlier << np.uint64(32)) | later)
    return pairs


def _one_row_per_band(table: pa.Table, bits: int) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    keys = keys_of(table)
    bands = keys.shape[1]
    columns = {name: np.repeat(table.column(name).to_numpy(), bands) for name in ("digest", "prefer", ROW)}
    shift = np.uint64(bits)
    return pa.table({"key": (keys.reshape(-1) >> shift << shift).view(np.int64), **columns})


def _pairs_of_buckets(table: pa.Table) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    from .lsh import bucket_pairs

    key, digest, prefer, row = (table.column(name).to_numpy() for name in ("key", "digest", "prefer", ROW))
    # Of rows with the same set only the most preferred takes part, as in memory.
    order = np.lexsort((row, -prefer, digest, key))
    new = np.concatenate(
        (
            np.ones(min(len(order), 1), bool),
            (key[order][1:] != key[order][:-1]) | (digest[order][1:] != digest[order][:-1]),
        )
    )
    order = order[new]
    order = order[np.lexsort((row[order], -prefer[order], key[order]))]
    earlier, later = bucket_pairs(key[order].view(np.uint64))
    return pa.table({"earlier": row[order][earlier], "later": row[order][later]})
