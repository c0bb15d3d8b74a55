"""Tables that are cut anew have the same rows, in the sizes that were asked for."""

from __future__ import annotations

from itertools import pairwise, repeat

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.cutting import cut


@given(given_sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6), size=st.integers(1, 9))
def test_the_rows_are_the_same_in_tables_of_one_size(given_sizes: list[int], size: int) -> None:
    rows = sum(given_sizes)
    whole = pa.table({"n": range(rows)}, schema=pa.schema([("n", pa.int64())]))
    ends = [sum(given_sizes[:place]) for place in range(len(given_sizes) + 1)]
    tables = list(cut((whole.slice(a, b - a) for a, b in pairwise(ends)), repeat(size)))
    assert pa.concat_tables(tables) == whole
    assert [table.num_rows for table in tables] == [size] * (rows // size) + [rows % size][
        : rows % size or not rows
    ]


def test_sizes_may_differ_and_what_is_left_comes_last() -> None:
    tables = cut([pa.table({"n": range(10)})], [1, 4])
    assert [table["n"].to_pylist() for table in tables] == [[0], [1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert list(cut([], repeat(3))) == []
