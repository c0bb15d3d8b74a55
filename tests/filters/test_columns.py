from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from gristmill.filters.columns import number_column
from gristmill.filters.select.best import SelectBest


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (pa.array([2**53 + 1, None, -(2**63)]), [2.0**53, float("-inf"), -(2.0**63)]),
        (pa.array([2**64 - 1, 3], pa.uint64()), [2.0**64, 3.0]),
        (pa.array([2**53 + 1, 1]).dictionary_encode(), [2.0**53, 1.0]),
        (pa.array([Decimal("12345678901234567890.5"), Decimal(1)]), [1.2345678901234567e19, 1.0]),
    ],
)
def test_large_integers_become_the_nearest_number(rows: Any, values: pa.Array, numbers: list[float]) -> None:
    assert number_column(rows(made=values), "made", "here").tolist() == numbers


def test_rows_are_ranked_by_nanoseconds(rows: Any, context: Any) -> None:
    day = int(datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC).timestamp())
    made = [day * 10**9 + 1, (day + 60) * 10**9 + 7, day * 10**9 + 3]
    result = SelectBest(by="made", group=()).apply(rows(made=made), context)
    assert result.kept.tolist() == [False, True, False]
