from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.score.mean_logprob import mean_logprob

numbers = st.floats(-20, 0, width=32)
lists = st.lists(st.one_of(st.none(), st.lists(numbers, max_size=6)), max_size=12)


@given(lists, lists)
def test_it_is_the_mean_of_each_row(first: list, second: list) -> None:
    column = pa.chunked_array([pa.array(part, pa.list_(pa.float32())) for part in (first, second)])
    found = mean_logprob(pa.table({"logprobs": column}))["mean_logprob"].to_pylist()
    wanted = [float(np.mean(row, dtype=np.float64)) if row else None for row in [*first, *second]]
    assert found == [None if mean is None else pytest.approx(mean, abs=1e-6) for mean in wanted]


def test_a_sliced_table_is_read_from_its_own_rows() -> None:
    whole = pa.table({"logprobs": pa.array([[-1.0], [-2.0, -4.0], [-5.0]], pa.list_(pa.float32()))})
    assert mean_logprob(whole.slice(1, 1))["mean_logprob"].to_pylist() == [-3.0]


def test_null_and_infinite_log_probabilities_give_null() -> None:
    column = pa.array([[-1.0, None], [-1.0, -np.inf], [-2.0]], pa.list_(pa.float32()))
    assert mean_logprob(pa.table({"logprobs": column}))["mean_logprob"].to_pylist() == [None, None, -2.0]


def test_a_missing_column_says_where_it_comes_from() -> None:
    with pytest.raises(DataError, match="generate step"):
        mean_logprob(pa.table({"response": ["a"]}))
