from __future__ import annotations

import numpy as np
import pytest

from gristmill.filters.cluster.labels import central_rows, top_terms


def test_words_of_all_clusters_count_less() -> None:
    texts = ["the cat the cat", "the purr", "the loan the loan the", "the bank loan"]
    labels = np.array([0, 0, 1, 1], dtype=np.int32)
    # 14 words, 7 per cluster; "the" occurs 7 or 8 times. In the first: cat 2 log(1 + 7/2), purr log(1 + 7/1).
    assert top_terms(texts, labels, terms=2) == [["cat", "purr"], ["loan", "the"]]
    many = ["the cat", *["the " * 20 + "dog"] * 3]
    assert top_terms(many, np.array([0, 1, 2, 3], dtype=np.int32), terms=1)[0] == ["cat"]


@pytest.mark.parametrize("texts", [[], ["1 2", "?"]])
def test_no_words_no_terms(texts: list[str]) -> None:
    labels = np.zeros(len(texts), dtype=np.int32)
    assert top_terms(texts, labels) == [[]] * min(1, len(texts))


def test_the_rows_nearest_to_each_centroid_are_read() -> None:
    labels = np.array([1, 0, 0, 1, 0], dtype=np.int32)
    cosines = np.array([0.5, 0.1, 0.9, 0.7, 0.9])
    assert central_rows(labels, cosines, rows=2).tolist() == [2, 4, 3, 0]
