"""Choose rows at random: the choice that every other one has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ..pipelines.operator import Context, Estimate, Verdicts, Whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class RandomSelect(Whole):
    """Keeps rows at random, each as likely as another: the choice that every other one has to beat.

    A row's draw depends on the seed and its ``_id`` alone, so other rows that come or go hardly change it.

    Filters:
        random: not drawn; the score is the draw.

    Example:
        chosen: {select: random, rows: 200, from: clean}
    """

    seeded: ClassVar[bool] = True

    rows: Annotated[int, Field(gt=0)]
    """Rows to keep; all of them where there are no more."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=min(rows, self.rows))

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def apply(self, table: pa.Table, context: Context) -> Verdicts:
        import numpy as np

        draws = draw(table.column("_id").to_pylist(), context.seed)
        kept = np.zeros(len(draws), dtype=bool)
        kept[np.argsort(draws, kind="stable")[: self.rows]] = True
        return Verdicts(kept=kept, rule="random", score=draws, summary={"asked": self.rows, "of": len(draws)})


def draw(ids: Sequence[str], seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each id, float64 ``(rows,)``: uniform over ids, fixed for an id and a seed."""
    import numpy as np

    key = seed.to_bytes(8, "big", signed=True)
    digests = b"".join(blake2b(each.encode(), digest_size=8, key=key).digest() for each in ids)
    draws: NDArray[np.float64] = (np.frombuffer(digests, dtype=">u8") >> np.uint64(11)).astype(np.float64)
    return draws * 2.0**-53
