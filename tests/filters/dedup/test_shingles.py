from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.filters.dedup import shingles
from gristmill.filters.dedup.jaccard import jaccard
from gristmill.filters.dedup.shingles import Sets, shingle_sets
from gristmill.filters.dedup.words import SIGN, words_and_signs

#: Texts of few letters, so that texts share shingles; with separators, accents, ligatures and empty texts.
#: Some are ASCII with signs between words, which are found in other ways.
TEXTS = st.lists(
    st.one_of(
        st.text(alphabet="ab _.,\nÄßﬁ中é\u0301\0", max_size=30),
        st.text(alphabet="ab3 +*-(\n", max_size=30),
        st.text(alphabet="ab3 +*-é√−", max_size=30),
    ),
    min_size=1,
    max_size=12,
)


def signed_words(text: str) -> list[str]:
    """The words of a text, each with the sign before it."""
    found, sign = [], ""
    for part in words_and_signs(text):
        if part.startswith(SIGN):
            sign = part
        else:
            found.append(sign + part)
            sign = ""
    return found


def plain_sets(texts: list[str], kind: str, n: int) -> list[set[tuple[str, ...]]]:
    """The same sets, of tuples of words or characters, by plain Python."""
    found = []
    for text in texts:
        atoms = signed_words(text) if kind == "words" else list(shingles._folded(text))
        grams = {tuple(atoms[i : i + n]) for i in range(len(atoms) - n + 1)}
        found.append(grams or {("exactly", text)})
    return found


def sets_of(texts: list[str], kind: str = "words", n: int = 3) -> Sets:
    return shingle_sets(pa.array(texts, pa.large_string()), kind, n)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["words", "characters"]), st.integers(1, 4))
def test_sets_are_those_of_plain_python(texts: list[str], kind: str, n: int) -> None:
    sets = sets_of(texts, kind, n)
    plain = plain_sets(texts, kind, n)
    short = [next(iter(each))[0] == "exactly" for each in plain]
    assert sets.sizes.tolist() == [2 if own else len(each) for own, each in zip(short, plain)]
    left, right = np.divmod(np.arange(len(texts) ** 2), len(texts))
    found = jaccard(sets, left, sets, right)
    for a, b, similarity in zip(left.tolist(), right.tolist(), found.tolist()):
        assert similarity == len(plain[a] & plain[b]) / len(plain[a] | plain[b])


@given(TEXTS, st.integers(1, 40), st.integers(1, 5))
def test_blocks_do_not_matter(texts: list[str], size: int, rows: int) -> None:
    together = sets_of(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shingles, "BLOCK_BYTES", size)
        patch.setattr(shingles, "BLOCK_ROWS", rows)
        shingles._cached_powers.cache_clear()
        apart = sets_of(texts)
    shingles._cached_powers.cache_clear()
    assert apart.hashes.tolist() == together.hashes.tolist()
    assert apart.offsets.tolist() == together.offsets.tolist()


def test_a_huge_row_and_a_huge_word_are_hashed_like_small_ones() -> None:
    words = " ".join(f"word{number}" for number in range(100_000))
    sets = sets_of([words, words + " and more of it", "x" * 1_500_000, "b b b"])
    assert sets.sizes[0] == 99_998
    assert jaccard(sets, np.array([0]), sets, np.array([1]))[0] == pytest.approx(99_998 / 100_002)
    assert sets_of([words]).hashes.tolist() == sets.hashes[: sets.offsets[1]].tolist()


def test_hashes_are_the_same_in_every_version() -> None:
    """An index that is kept relies on it."""
    assert int(sets_of(["The quick brown fox, again."]).hashes.sum()) == 30_576_953_425_669_144
    assert (
        int(sets_of(["The quick brown fox, again."], "characters", 5).hashes.sum()) == 229_110_571_151_355_121
    )


def similarity(one: str, other: str) -> float:
    sets = sets_of([one, other])
    return float(jaccard(sets, np.array([0]), sets, np.array([1]))[0])


def test_marks_and_signs_tell_texts_apart() -> None:
    assert similarity("मेरा दिन मिला", "मेरी दान माला") == 0
    assert similarity("Compute 12 + 7 and print it", "Compute 12 * 7 and print it") == 1 / 7
    assert similarity("Compute 12 - 7 and print it", "Compute 12 / 7 and print it") == 1 / 7
    assert similarity("Compute 12 + 7 and print é", "Compute 12+7 and **print** é") == 1
    assert similarity("Compute 12 + 7 and print it all", "Compute 12 + 7 and print it – é") == 4 / 6
    assert similarity("Compute 12 + 7 and print it", "- Compute **12+7** and *print* it") == 1
    assert similarity("今天天气怎么样", "今天天氣怎么样") == 2 / 8
