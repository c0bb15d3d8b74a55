"""Choose rows at random, as a baseline for other selection methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ...contracts.operators import Context, Estimate, TableResult, WholeTable
from .groups import group_labels

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class RandomSelect(WholeTable):
    """Keeps rows that are drawn uniformly at random: the baseline for other selection methods.

    A row's draw depends only on the seed and its ``_id``, so adding or removing other rows hardly changes the
    choice.

    Filters:
        random: the row was not drawn; the score is its draw.

    Example:
        chosen: {select: random, rows: 200, from: clean}
    """

    seeded: ClassVar[bool] = True

    rows: Annotated[int, Field(gt=0)]
    """Rows to keep, of each group if there is a `group`. All rows are kept if there are fewer."""
    group: tuple[str, ...] = ()
    """Columns whose equal values make a group. By default all rows are one group."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows if self.group else min(rows, self.rows))

    def uses_columns(self) -> Iterable[str]:
        return self.group

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def apply(self, table: pa.Table, context: Context) -> TableResult:
        import numpy as np

        draws = draw(table.column("_id").to_pylist(), context.seed)
        labels = group_labels(table, self.group, "select: random")
        order = np.lexsort((draws, labels))
        kept = np.zeros(len(draws), dtype=bool)
        kept[order] = np.arange(len(draws)) - np.searchsorted(labels[order], labels[order]) < self.rows
        return TableResult(
            kept=kept, rule="random", score=draws, summary={"asked": self.rows, "of": len(draws)}
        )


def draw(ids: Sequence[str], seed: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each id, float64 ``(rows,)``: uniform, fixed by the id and the seed."""
    import numpy as np

    key = seed.to_bytes(8, "big", signed=True)
    digests = b"".join(blake2b(each.encode(), digest_size=8, key=key).digest() for each in ids)
    draws: NDArray[np.float64] = (np.frombuffer(digests, dtype=">u8") >> np.uint64(11)).astype(np.float64)
    return draws * 2.0**-53
