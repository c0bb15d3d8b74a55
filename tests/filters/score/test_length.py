from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.score.length import length


@given(
    st.lists(
        st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]))), max_size=8
    )
)
def test_words_and_characters(texts: list[str | None]) -> None:
    found = length(pa.table({"response": pa.array(texts, pa.string())}))
    assert found["response_chars"].to_pylist() == [None if t is None else len(t) for t in texts]
    assert found["response_words"].to_pylist() == [None if t is None else len(t.split()) for t in texts]
    assert "response_tokens" not in found


def test_control_characters_that_are_white_space_part_words() -> None:
    found = length(pa.table({"response": ["a\tb\nc\r\nd\x0be  ", ""]}))
    assert found["response_words"].to_pylist() == [5, 0]


def test_tokens_are_the_models_own() -> None:
    found = length(pa.table({"response": ["a b"], "completion_tokens": pa.array([7], pa.int32())}))
    assert found["response_tokens"].to_pylist() == [7]
    assert found["response_tokens"].type == pa.int64()


def test_refuses_what_is_not_text() -> None:
    with pytest.raises(DataError, match="text in the column 'response'"):
        length(pa.table({"response": [1]}))
    with pytest.raises(DataError, match="did you mean 'respons'"):
        length(pa.table({"respons": ["a"]}))
