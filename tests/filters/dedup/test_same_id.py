"""Rows that came by two ways are kept once."""

from __future__ import annotations

import pyarrow as pa

from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.dedup.same_id import SameId


class Other:
    """A context with the rows of one other step."""

    def table(self, step: str) -> pa.Table:
        assert step == "other"
        return pa.table({"_id": ["c", "z"]})


def test_the_first_row_of_an_id_is_kept_and_none_of_the_other_step() -> None:
    rows = TableRows(pa.table({"_id": ["a", "b", "a", "c", "c", "d", "b"], "text": list("1234567")}))
    found = SameId().judge(rows, Other())  # type: ignore[arg-type]
    assert list(found.kept) == [True, True, False, True, False, True, False]
    assert list(found.duplicate_of) == [-1, -1, 0, -1, 3, -1, 1]
    found = SameId(besides="other").judge(rows, Other())  # type: ignore[arg-type]
    assert list(found.kept) == [True, True, False, False, False, True, False]
    assert found.rule[3] == "in_other_step"
    assert found.rule[2] == "same_id"
    assert found.summary == {"same_id": 2, "in_other_step": 2}
