from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.dedup.ngrams import hash_words, ngrams, words_of

texts = st.lists(st.one_of(st.none(), st.lists(st.sampled_from("abc"), max_size=9).map(" ".join)), max_size=8)


@given(texts, st.integers(1, 5))
def test_hashes_are_equal_exactly_where_the_words_are(values: list, n: int) -> None:
    hashes, owner = ngrams(hash_words(values), n)
    plain = []
    for row, text in enumerate(values):
        words = words_of(text or "")
        plain += [(row, tuple(words[i : i + n])) for i in range(len(words) - n + 1)]
    assert owner.tolist() == [row for row, _ in plain]
    meaning: dict[int, tuple] = {}
    for value, (_, gram) in zip(hashes.tolist(), plain):
        assert meaning.setdefault(value, gram) == gram
    assert len(meaning) == len({gram for _, gram in plain})


def test_the_order_of_the_words_counts() -> None:
    hashes, _ = ngrams(hash_words(["a b c", "c b a", "b a c", "a b c"]), 3)
    assert len(set(hashes.tolist())) == 3
    assert hashes[0] == hashes[3]


def test_words_are_folded() -> None:
    assert words_of("Straße, ①-Don't_stop!") == ["strasse", "1", "don", "t_stop"]


def test_hashes_are_the_same_in_another_process() -> None:
    code = (
        "from gristmill.filters.dedup.ngrams import hash_words; print(hash_words(['one "
        "two']).hashes.tolist())"
    )
    made = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == str(hash_words(["One two"]).hashes.tolist())
