"""ROUGE-L against its definition, and the guarantees of the greedy choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.filters.dedup.rouge import RougeDedup
from gristmill.filters.dedup.rouge_l import WordNumbers, common_length, greedy_rouge, rouge_l, words

TEXT = st.lists(st.sampled_from("abcde"), max_size=12)


def table_of(first: list[str], second: list[str]) -> int:
    """The longest common subsequence by its recurrence."""
    rows = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            rows[i + 1][j + 1] = rows[i][j] + 1 if a == b else max(rows[i][j + 1], rows[i + 1][j])
    return rows[-1][-1]


@given(TEXT, TEXT)
def test_the_common_length_is_that_of_the_recurrence(first: list[str], second: list[str]) -> None:
    assert common_length(first, second) == table_of(first, second)
    assert rouge_l(first, second) == rouge_l(second, first)
    assert rouge_l(first, first) == (1.0 if first else 0.0)


def test_the_papers_own_example() -> None:
    # Lin (2004), section 3: a reference and two candidates with the same bigrams in common.
    reference = words("police killed the gunman")
    assert rouge_l(reference, words("Police kill the gunman.")) == pytest.approx(3 / 4)
    assert rouge_l(reference, words("the gunman kill police")) == pytest.approx(2 / 4)


def test_characters_of_languages_without_spaces_are_words() -> None:
    assert rouge_l(words("请写一首关于春天的诗"), words("请写一首关于秋天的诗。")) == pytest.approx(9 / 10)
    assert rouge_l(words("मेरा दिन"), words("मेरी दान")) == 0


@given(st.lists(TEXT, max_size=14), st.sampled_from([0.3, 0.7, 1.0]))
def test_kept_texts_differ_and_the_others_name_their_likest(texts: list[list[str]], threshold: float) -> None:
    nearest, scores = greedy_rouge([list(map(ord, text)) for text in texts], threshold, lambda done: None)
    kept: list[int] = []
    for index, text in enumerate(texts):
        against = {other: rouge_l(text, texts[other]) for other in kept}
        best = max(against.values(), default=0.0)
        if best >= threshold:
            assert scores[index] == best
            assert nearest[index] == next(other for other, score in against.items() if score == best)
        else:
            assert nearest[index] == -1
            assert np.isnan(scores[index])
            kept.append(index)


def test_a_text_that_just_reaches_the_threshold_is_a_duplicate() -> None:
    texts = [[1, 2, 3, 4], [1, 2, 3, 5]]  # three of four words in common: exactly 0.75
    for threshold, nearest in ((0.75, [-1, 0]), (0.76, [-1, -1])):
        assert greedy_rouge(texts, threshold, lambda done: None)[0].tolist() == nearest


def test_a_word_that_comes_hundreds_of_times_is_counted(context: Any) -> None:
    long = [0] * 700
    nearest, scores = greedy_rouge([long, long, [0] * 400], 0.7, lambda done: None)
    assert nearest.tolist() == [-1, 0, 0]
    assert scores[2] == pytest.approx(2 * 400 / 1100)


def test_words_are_numbered_as_they_come() -> None:
    numbered = WordNumbers()
    assert list(numbered("One two, ONE three")) == [0, 1, 0, 2]
    assert list(numbered("three four")) == [2, 3]


def test_rows_give_way_to_those_before_them(context: Any, rows: Any) -> None:
    table = rows(
        prompt=[
            "Write a poem about the sea.",
            "write a POEM about the sea",
            "Name three rivers of Asia.",
            None,
            "Write a short poem about the sea",
            "!!!",
        ]
    )
    result = RougeDedup().apply(table, context)
    assert result.kept.tolist() == [True, False, True, True, False, True]
    assert result.duplicate_of.tolist() == [-1, 0, -1, -1, 0, -1]
    assert result.score[4] == pytest.approx(12 / 13)
    assert result.errors[3] == "prompt is null"
    assert result.summary == {"threshold": 0.7, "duplicates": 2}
    with pytest.raises(DataError, match="did you mean 'prompt'"):
        RougeDedup(columns=("promt",)).apply(table, context)
