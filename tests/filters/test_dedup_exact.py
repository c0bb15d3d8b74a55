from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.dedup_exact import ExactDedup, normalize_text
from gristmill.pipelines.errors import DataError

texts = st.lists(st.one_of(st.none(), st.text("aAb .ß①", max_size=3)), max_size=30)


@given(values=texts, normalize=st.booleans(), strip=st.booleans())
def test_every_row_is_kept_or_names_the_kept_row_it_equals(
    rows: Any, values: list, normalize: bool, strip: bool
) -> None:
    table = rows(response=pa.array(values, pa.string()))
    dedup = ExactDedup(columns=("response",), normalize=normalize, strip_punctuation=strip)
    verdicts = dedup.apply(table, None)

    def key(value: str | None) -> str | None:
        same = value is None or not (normalize or strip)
        return value if same else normalize_text(value, strip_punctuation=strip)

    seen: dict[str | None, str] = {}
    for row, value in enumerate(values):
        first = seen.setdefault(key(value), f"r{row}")
        assert verdicts.kept[row] == (first == f"r{row}")
        assert verdicts.neighbour[row] == (None if first == f"r{row}" else first)
    again = dedup.apply(table.filter(pa.array(verdicts.kept, pa.bool_())), None)
    assert again.kept.all()


def test_columns_are_compared_one_by_one(context: Any, rows: Any) -> None:
    table = rows(prompt=["a", "ab", "a", "a"], response=["bc", "c", "bc", None])
    verdicts = ExactDedup().apply(table, context)
    assert verdicts.kept.tolist() == [True, True, False, True]
    assert verdicts.neighbour == [None, None, "r0", None]
    assert verdicts.summary == {"duplicates": 1, "most_copies": 2}


def test_normalizing_folds_case_space_and_form() -> None:
    assert normalize_text("  Straße\u00a0\n №①  ") == "strasse no1"
    assert normalize_text("Don't, “stop”…", strip_punctuation=True) == "dont stop"
    assert normalize_text("a+b=c", strip_punctuation=True) == "a+b=c"


def test_numbers_are_compared_and_lists_refused(context: Any, rows: Any) -> None:
    assert ExactDedup(columns=("n",)).apply(rows(n=[1, 1, 2]), context).kept.tolist() == [True, False, True]
    with pytest.raises(DataError, match=r"'n' holds list"):
        ExactDedup(columns=("n",)).apply(rows(n=[[1]]), context)
    with pytest.raises(DataError, match="needs the column 'prompt'"):
        ExactDedup().apply(rows(n=[1]), context)


def test_chunks_do_not_matter(context: Any, rows: Any) -> None:
    whole = rows(response=["a", "b", "a", "c", "b"])
    parts = pa.concat_tables([whole.slice(0, 2), whole.slice(2, 0), whole.slice(2)])
    verdicts = ExactDedup(columns=("response",)).apply(parts, context)
    assert np.flatnonzero(verdicts.kept).tolist() == [0, 1, 3]
