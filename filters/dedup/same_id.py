"""Drop rows that came by two ways: those with an `_id` that was seen before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ...contracts.context import Context
from ...contracts.operators import StepRef, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows


class SameId(WholeTable):
    """Keeps the first of the rows with the same `_id`, whatever their columns hold.

    A step that filters rows leaves their `_id` as it is. So the rows of two steps that filtered the same rows
    overlap, as do those of two rounds.

    Filters:
        same_id: an earlier row has this `_id`.
        in_other_step: the rows of `besides` have this `_id`.

    Example:
        pool: {dedup: id, from: [best, longest]}
    """

    version: ClassVar[int] = 1

    besides: StepRef | None = None
    """Step whose rows are dropped too. By default there is none."""

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = rows.table(["_id"])["_id"].combine_chunks()
        codes = ids.dictionary_encode().indices.to_numpy(zero_copy_only=False)
        _, first, place = np.unique(codes, return_index=True, return_inverse=True)
        first_of = first[place].astype(np.int64)
        copy = first_of != np.arange(len(codes))
        other = np.zeros(len(codes), dtype=bool)
        if self.besides is not None:
            there = context.table(self.besides)
            names = there["_id"].combine_chunks() if there.num_rows else pa.array([], pa.string())
            other = pc.is_in(ids, value_set=names).to_numpy(zero_copy_only=False)
        rule = np.where(other, "in_other_step", "same_id")
        return TableResult(
            kept=~(copy | other),
            rule=rule.tolist(),
            duplicate_of=np.where(copy & ~other, first_of, -1),
            summary={"same_id": int((copy & ~other).sum()), "in_other_step": int(other.sum())},
        )
