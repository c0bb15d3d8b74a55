"""Numbered rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.pipelines.sources import Count


@pytest.mark.parametrize("rows", [1, 65_536, 65_537])
def test_numbers_run_from_zero_over_batches(context: Any, rows: int) -> None:
    batches = list(Count(rows=rows).read(context))
    table = pa.Table.from_batches(batches)
    assert table.schema == pa.schema([("number", pa.int64())])
    assert table["number"].to_pylist() == list(range(rows))
    assert len(batches) == 1 + (rows > 65_536)
    assert Count(rows=rows).estimate(0).rows == rows


def test_no_rows_are_a_mistake() -> None:
    with pytest.raises(ValidationError):
        Count(rows=0)
