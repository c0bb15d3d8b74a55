"""``score: quoted``: the share of a text's n-grams that occur in the corpus, by its definition."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.score.quoted import QuotedShare, hashes, share_in


def by_definition(text: str, corpus: list[str], length: int) -> float:
    runs = [text[place : place + length] for place in range(len(text) - length + 1)]
    return sum(any(run in each for each in corpus) for run in runs) / len(runs) if runs else 0.0


def scores(texts: list[str | None], corpus: list[str], context, **options) -> list[float | None]:
    context.tables["corpus"] = pa.table({"_id": [str(n) for n in range(len(corpus))], "text": corpus})
    table = pa.table({"_id": [str(n) for n in range(len(texts))], "response": pa.array(texts, pa.string())})
    result = QuotedShare(corpus="corpus", **options).open(context)(table)
    return result.columns["quoted"].to_pylist()


@settings(max_examples=150)
@given(
    text=st.text("abä😀", max_size=30),
    corpus=st.lists(st.text("abä😀", max_size=40), min_size=1, max_size=4),
    length=st.integers(1, 6),
)
def test_the_share_is_that_of_the_definition(text: str, corpus: list[str], length: int) -> None:
    import numpy as np

    known = np.unique(np.concatenate([hashes(each, length) for each in corpus]))
    if len(known):
        assert share_in(hashes(text, length), known) == by_definition(text, corpus, length)


def test_a_text_is_scored_by_what_it_quotes_and_not_across_texts(context) -> None:
    corpus = ["The mill grinds the grain of the whole valley.", "Water drives it."]
    given = [corpus[0], "He said: " + corpus[0][:30], "valley.Water drives it", "short", None]
    found = scores(given, corpus, context, length=10)
    assert found[0] == 1.0
    assert found[1:3] == [by_definition(text, corpus, 10) for text in given[1:3]]
    assert 0.4 < found[1] < 0.8
    assert found[3:] == [0.0, None]
    assert scores([corpus[1]], corpus, context) == [0.0], "a text of 16 characters has no run of 25"


def test_a_corpus_without_a_run_of_that_length_is_refused(context) -> None:
    with pytest.raises(DataError, match="no text of 'corpus' has 25 characters"):
        scores(["a"], ["short"], context)
    with pytest.raises(DataError, match="no column 'text'"):
        QuotedShare(corpus="corpus").check_reference("corpus", "corpus", ["body"])
