"""Choose rows at random, as a baseline for other selection methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import Estimate, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..stored_columns import numbers
from .groups import group_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_WHO = "select: random"


class RandomSelect(WholeTable):
    """Keeps rows that are drawn at random: the baseline for other selection methods, or a choice by weight.

    A row's draw depends only on the seed, its ``_id`` and its weight, so adding or removing other rows hardly
    changes the choice. With a `weight`, rows are drawn one after the other without replacement, each with the
    probability of its weight's share of the rows that are left (Efraimidis and Spirakis, 2006). Equal weights
    give the choice without weights.

    Filters:
        random: the row was not drawn; the score is its draw. With a `weight` that is -log(1 - draw) / weight.
        weightless: the row's weight is null, NaN, zero or negative. It is never drawn.

    Example:
        chosen: {select: random, rows: 200, from: clean}
    """

    seeded: ClassVar[bool] = True

    rows: Annotated[int, Field(gt=0)]
    """Rows to keep, of each group if there is a `group`. All rows are kept if there are fewer."""
    group: tuple[str, ...] = ()
    """Columns whose equal values make a group. By default all rows are one group."""
    weight: str | None = None
    """Column with the weight of each row, a number. By default all rows weigh the same."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows if self.group else min(rows, self.rows))

    def most_per_group(self) -> tuple[Sequence[str], int] | None:
        return (self.group, self.rows) if self.group else None

    def uses_columns(self) -> Iterable[str]:
        return self.group if self.weight is None else (*self.group, self.weight)

    def uses_numbers(self) -> Iterable[str]:
        return () if self.weight is None else (self.weight,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Draw rows. Raises DataError if a column is missing or the weights are not numbers."""
        import numpy as np

        keys = draws_of(rows, context.seed)
        if self.weight is not None:
            keys = arrivals(keys, numbers(rows, self.weight, _WHO))
        drawable = np.isfinite(keys)
        labels = group_labels(rows, self.group, _WHO)
        order = np.lexsort((keys, labels))
        kept = np.zeros(len(keys), dtype=bool)
        kept[order] = np.arange(len(keys)) - np.searchsorted(labels[order], labels[order]) < self.rows
        kept &= drawable
        return TableResult(
            kept=kept,
            rule="random" if drawable.all() else _rules(kept, drawable),
            score=np.where(drawable, keys, np.nan),
            summary={"asked": self.rows, "of": len(keys)},
        )


def _rules(kept: NDArray[np.bool_], drawable: NDArray[np.bool_]) -> list[str | None]:
    return [None if own else "random" if could else "weightless" for own, could in zip(kept, drawable)]


def arrivals(draws: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's exponential time of arrival at the rate of its weight, float64 ``(rows,)``.

    The rows that arrive first are a weighted sample without replacement: the order is that of Efraimidis and
    Spirakis' keys u^(1/w), with u = 1 - draw. A row arrives never (infinity) if its weight is not above zero.
    """
    import numpy as np

    positive = weights > 0
    with np.errstate(over="ignore"):
        times = np.divide(-np.log1p(-draws), weights, out=np.full(len(draws), np.inf), where=positive)
    return np.where(positive, np.minimum(times, np.finfo(np.float64).max), np.inf)


def draws_of(rows: StoredRows, seed: int) -> NDArray[np.float64]:
    """Return :func:`draw` of each row."""
    import numpy as np

    batches = rows.batches(["_id"])
    return np.concatenate([np.zeros(0), *(draw(each["_id"].to_pylist(), seed) for each in batches)])


def draw(ids: Sequence[str], seed: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each id, float64 ``(rows,)``: uniform, fixed by the id and the seed."""
    import numpy as np

    key = seed.to_bytes(8, "big", signed=True)
    digests = b"".join(blake2b(each.encode(), digest_size=8, key=key).digest() for each in ids)
    draws: NDArray[np.float64] = (np.frombuffer(digests, dtype=">u8") >> np.uint64(11)).astype(np.float64)
    return draws * 2.0**-53
