"""An index of sketches that is kept between runs, for `dedup: minhash`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .jaccard import jaccard
from .kept_index import KeptIndex
from .lsh import REACH
from .shingles import Sets
from .sketches import Sketches, band_names, sets_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class IndexRows:
    """Rows of the index."""

    ids: list[str]
    sets: Sets


@dataclass(frozen=True, slots=True)
class IndexPairs:
    """Rows of the index (``number``) near leaders of the step (``place``), and their Jaccard similarity."""

    number: NDArray[np.int64]
    place: NDArray[np.int64]
    similarity: NDArray[np.float64]
    rows: Callable[[NDArray[np.int64]], IndexRows]

    @classmethod
    def none(cls) -> IndexPairs:
        import numpy as np

        empty = np.zeros(0, np.int64)
        return cls(empty, empty, np.zeros(0), lambda _: IndexRows([], Sets(np.zeros(0, np.uint64), empty)))


@dataclass(frozen=True, slots=True)
class SketchIndex(KeptIndex):
    """The sketches of the rows that survived."""

    kind: ClassVar[str] = "dedup: minhash"
    columns: ClassVar[tuple[str, ...]] = ("_id", "keys", "hashes")

    def near(self, sketches: Sketches, threshold: float, check: Callable[[], None]) -> IndexPairs:
        """Find the rows of the index that are near a leader. Raises DataError if a file is damaged."""
        import numpy as np

        number, place, similarity = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        leads = sketches.leader == np.arange(len(sketches))
        columns = [*band_names(sketches.bands), "hashes"]
        for first, block in self.blocks(verify=True):
            keys, sets = _listed_keys(block), sets_of(block)
            orders = np.argsort(keys, axis=0, kind="stable")
            start = 0
            for batch in sketches.stored.batches(columns):
                check()
                own = leads[start : start + batch.num_rows]
                old, new = _shared_bands(keys, orders, _keys(batch, sketches.bands), own)
                alike = jaccard(sets, old, sets_of(batch), new)
                near = alike >= threshold
                number.append(old[near] + first)
                place.append(new[near] + start)
                similarity.append(alike[near])
                start += batch.num_rows
        found = (np.concatenate(number), np.concatenate(place), np.concatenate(similarity))
        return IndexPairs(*found, self._rows)

    def extend(self, sketches: Sketches, kept: NDArray[np.bool_]) -> None:
        """Add the kept rows as the step's generation; do nothing if they are there already.

        Raises DataError if the name belongs to other rows, or the index has changed since it was read.
        """
        self.add(self._kept(sketches, kept))

    def _kept(self, sketches: Sketches, kept: NDArray[np.bool_]) -> Iterator[pa.Table]:
        import pyarrow as pa

        columns = ["_id", *band_names(sketches.bands), "hashes"]
        batch, start = None, 0
        for batch in sketches.stored.batches(columns):
            chosen = pa.array(kept[start : start + batch.num_rows])
            yield _with_listed_keys(batch.filter(chosen), sketches.bands)
            start += batch.num_rows
        if batch is None:
            yield _with_listed_keys(sketches.stored.table(columns), sketches.bands)

    def _rows(self, numbers: NDArray[np.int64]) -> IndexRows:
        """These rows of the index (ascending)."""
        import numpy as np
        import pyarrow as pa

        found = []
        for first, block in self.blocks():
            low, high = np.searchsorted(numbers, [first, first + block.num_rows])
            found.append(block.take(numbers[low:high] - first))
        rows = pa.concat_tables(found)
        return IndexRows(rows.column("_id").to_pylist(), sets_of(rows))


def _keys(sketches: pa.Table, bands: int) -> NDArray[np.uint64]:
    """The band keys of a table of sketches; uint64 ``(rows, bands)``."""
    import numpy as np

    return np.stack([sketches.column(name).to_numpy() for name in band_names(bands)], axis=1)


def _with_listed_keys(sketches: pa.Table, bands: int) -> pa.Table:
    """With the band keys of each row in one column, as the index has them."""
    import pyarrow as pa

    keys = pa.array(_keys(sketches, bands).reshape(-1))
    return sketches.append_column("keys", pa.FixedSizeListArray.from_arrays(keys, bands))


def _listed_keys(block: pa.Table) -> NDArray[np.uint64]:
    """The band keys of rows of the index; uint64 ``(rows, bands)``."""
    column = block.column("keys").combine_chunks()
    keys: NDArray[np.uint64] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return keys


def _shared_bands(
    old: NDArray[np.uint64], orders: NDArray[np.int64], new: NDArray[np.uint64], leads: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs (row of the block, row of the batch) that share a band, each once.

    A row is compared with the first ``REACH`` rows of a bucket. ``orders``: sorts each band of ``old``.
    """
    import numpy as np

    pairs = [np.zeros(0, np.int64)]
    rows = np.flatnonzero(leads)
    for band in range(old.shape[1]):
        order = orders[:, band]
        ascending, wanted = old[order, band], new[rows, band]
        low = np.searchsorted(ascending, wanted)
        count = np.minimum(np.searchsorted(ascending, wanted, side="right") - low, REACH)
        skipped = np.repeat(np.cumsum(count) - count, count)
        place = np.repeat(low, count) + np.arange(int(count.sum())) - skipped
        pairs.append(order[place] * len(new) + np.repeat(rows, count))
    packed = np.unique(np.concatenate(pairs))
    first, second = np.divmod(packed, max(len(new), 1))
    return first, second
