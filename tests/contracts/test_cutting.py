"""Tables that are cut anew have the same rows, at places that only their values decide."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts import cutting
from gristmill.contracts.cutting import cut


def split(whole: pa.Table, cuts: list[int]) -> list[pa.Table]:
    edges = sorted({0, whole.num_rows, *(min(each, whole.num_rows) for each in cuts)})
    return [whole.slice(a, b - a) for a, b in pairwise(edges)] or [whole]


@given(rows=st.integers(0, 30), cuts=st.lists(st.integers(0, 30), max_size=5), size=st.integers(1, 9))
def test_the_rows_are_the_same_in_tables_of_one_size(rows: int, cuts: list[int], size: int) -> None:
    whole = pa.table({"n": range(rows)}, schema=pa.schema([("n", pa.int64())]))
    tables = list(cut(split(whole, cuts), size))
    assert pa.concat_tables(tables) == whole
    assert [table.num_rows for table in tables] == (
        [size] * (rows // size) + [rows % size] * (rows % size > 0) or [0]
    )
    assert list(cut([], size)) == []


TEXTS = [None if n % 7 == 0 else "x" * (n % 50) for n in range(2000)]
COLUMNS = {
    "text": pa.array(TEXTS),
    "list": pa.array([None if text is None else [text] for text in TEXTS]),
    "struct": pa.array([[{"role": text}] for text in TEXTS]),
}


@pytest.mark.parametrize("column", sorted(COLUMNS))
@given(cuts=st.lists(st.integers(0, 2000), max_size=4))
def test_large_values_make_small_tables_wherever_they_were_cut(column: str, cuts: list[int]) -> None:
    whole = pa.table({"v": COLUMNS[column]})
    before, cutting.TABLE_BYTES = cutting.TABLE_BYTES, 11_000
    try:
        want = [table.num_rows for table in cut([whole], 1_900)]
        found = list(cut(split(whole, cuts), 1_900))
    finally:
        cutting.TABLE_BYTES = before
    assert [table.num_rows for table in found] == want
    assert len(want) > 2
    assert set(want[:-1]) <= {256, 512, 768}
    assert pa.concat_tables(found) == whole
