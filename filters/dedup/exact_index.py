"""An index of the keys of texts that is kept between runs, for `dedup: exact`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...contracts.stored_rows import ROW, StoredRows
from .first_occurrence import HIGH, LOW
from .kept_index import KeptIndex

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ExactIndex(KeptIndex):
    """The keys of the rows that survived."""

    kind: ClassVar[str] = "dedup: exact"
    columns: ClassVar[tuple[str, ...]] = ("_id", HIGH, LOW)

    def same(self, keys: StoredRows, check: Callable[[], None]) -> dict[int, str]:
        """Return the number of each row whose key is in the index, and the ``_id`` of the index's row.

        ``keys``: of ``first_occurrence.key_table``. Raises DataError if a file is damaged.
        """
        found: dict[int, str] = {}
        for _, block in self.blocks(verify=True):
            for batch in keys.batches([HIGH, LOW]):
                check()
                both = batch.select([ROW, HIGH, LOW]).join(block, [HIGH, LOW], join_type="inner")
                found.update(zip(both[ROW].to_pylist(), both["_id"].to_pylist(), strict=True))
        return found

    def extend(self, keys: StoredRows, kept: NDArray[np.bool_]) -> None:
        """Add the rows with a key that are ``kept`` (bool, by number) as the step's generation; do nothing if
        they are there already.

        Raises DataError if the name belongs to other rows, or the index has changed since it was read.
        """
        self.add(self._kept(keys, kept))

    def _kept(self, keys: StoredRows, kept: NDArray[np.bool_]) -> Iterator[pa.Table]:
        import pyarrow as pa

        batch = None
        for batch in keys.batches(self.columns):
            yield batch.filter(pa.array(kept[batch[ROW].to_numpy()]))
        if batch is None:
            yield keys.table(self.columns)
