from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.filters.dedup.exact import ExactDedup
from gristmill.filters.dedup.same_text import Normalize, text_key

texts = st.lists(st.one_of(st.none(), st.text("aAb .ß①=\n", max_size=3)), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=texts, normalize=st.sampled_from(get_args(Normalize)), strip=st.booleans())
def test_every_row_is_kept_or_names_the_kept_row_it_equals(
    context: Any, rows: Any, with_ids: Any, values: list, normalize: Normalize, strip: bool
) -> None:
    strip = strip and normalize in ("auto", "prose")
    table = rows(response=pa.array(values, pa.string()))
    dedup = ExactDedup(columns=("response",), normalize=normalize, strip_punctuation=strip)
    result = with_ids(dedup.apply(table, context), table)
    key = text_key(normalize, strip)
    seen: dict[object, str] = {}
    for row, value in enumerate(values):
        first = f"r{row}" if value is None else seen.setdefault(key(value), f"r{row}")
        assert result.kept[row] == (first == f"r{row}")
        assert result.duplicate_of[row] == (None if first == f"r{row}" else first)
    again = dedup.apply(table.filter(pa.array(result.kept, pa.bool_())), context)
    assert again.kept.all()


def test_columns_are_compared_one_by_one(context: Any, rows: Any, with_ids: Any) -> None:
    table = rows(prompt=["a", "ab", "a", "a"], response=["bc", "c", "bc", None])
    result = with_ids(ExactDedup().apply(table, context), table)
    assert result.kept.tolist() == [True, True, False, True]
    assert result.duplicate_of == [None, None, "r0", None]
    assert result.summary == {"duplicates": 1, "most_copies": 2}


CONVERSATIONS = [
    [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}] for n in range(4)
]


@pytest.mark.parametrize("as_json", [False, True])
def test_conversations_are_compared_where_prompt_and_response_are_null(
    context: Any, rows: Any, with_ids: Any, as_json: bool
) -> None:
    turns: list[Any] = [*CONVERSATIONS, CONVERSATIONS[1], None]
    if as_json:
        turns = [None if each is None else json.dumps(each) for each in turns]
    table = rows(prompt=[None] * 5 + ["p"], response=[None] * 5 + ["r"], messages=turns)
    result = with_ids(ExactDedup().apply(table, context), table)
    assert result.kept.tolist() == [True, True, True, True, False, True]
    assert result.duplicate_of[4] == "r1"


def test_turns_with_a_field_left_out_equal_those_with_a_null(context: Any, rows: Any, with_ids: Any) -> None:
    turns = [[{"role": "user", "content": "q", "name": None}], [{"role": "user", "content": "Q"}]]
    table = rows(messages=pa.array([json.dumps(each) for each in turns]))
    assert with_ids(ExactDedup().apply(table, context), table).duplicate_of == [None, "r0"]


def test_rows_of_which_nothing_is_known_are_no_duplicates(context: Any, rows: Any, with_ids: Any) -> None:
    nothing = pa.nulls(3, pa.string())
    assert ExactDedup(columns=("x",)).apply(rows(x=nothing), context).kept.all()
    table = rows(prompt=nothing, response=nothing)
    assert ExactDedup().apply(table, context).kept.all()
    # One column that is not null is enough.
    table = rows(prompt=["a", "a", "b"], response=nothing)
    assert with_ids(ExactDedup().apply(table, context), table).duplicate_of == [None, "r0", None]


def test_code_keeps_its_case_and_indentation_and_prose_does_not(
    context: Any, rows: Any, with_ids: Any
) -> None:
    program, indented = "if x:\n    y()\nz()", "if x:\n    y()\n    z()"
    table = rows(
        prompt=["p", "p", "P", "P", "Café ", "cafe\u0301", "CAFÉ", "cafe", "p"],
        response=[program, indented, "return x", "return X", "r", "R", "r ", "r", program + "  \r\n"],
    )
    found = {
        name: with_ids(ExactDedup(normalize=name).apply(table, context), table)
        for name in get_args(Normalize)
    }
    assert found["auto"].duplicate_of == [None, None, None, None, None, "r4", "r4", None, "r0"]
    assert found["prose"].duplicate_of == [None, "r0", None, "r2", None, "r4", "r4", None, "r0"]
    assert found["code"].duplicate_of == [*[None] * 8, "r0"]
    assert found["none"].kept.all()


def test_numbers_and_lists_are_compared_and_a_missing_column_is_named(
    context: Any, rows: Any, with_ids: Any
) -> None:
    assert ExactDedup(columns=("n",)).apply(rows(n=[1, 1, 2]), context).kept.tolist() == [True, False, True]
    tags = rows(n=[["a", "b"], ["b", "a"], ["A", "b "], [], []])
    assert ExactDedup(columns=("n",)).apply(tags, context).kept.tolist() == [True, True, False, True, False]
    with pytest.raises(DataError, match="needs the column 'prompt'"):
        ExactDedup().apply(rows(n=[1]), context)
    with pytest.raises(DataError, match="needs the column 'response'"):
        ExactDedup().apply(rows(prompt=["a"]), context)


def test_punctuation_is_of_prose(context: Any, rows: Any) -> None:
    for normalize in ("code", "none"):
        with pytest.raises(ValidationError, match="goes with `normalize: prose` or `auto`"):
            ExactDedup(normalize=normalize, strip_punctuation=True)


def test_chunks_do_not_matter(context: Any, rows: Any) -> None:
    whole = rows(response=["a", "b", "a", "c", "b"])
    parts = pa.concat_tables([whole.slice(0, 2), whole.slice(2, 0), whole.slice(2)])
    result = ExactDedup(columns=("response",)).apply(parts, context)
    assert np.flatnonzero(result.kept).tolist() == [0, 1, 3]
