"""ROUGE-L: similarity of two texts by their longest common subsequence of words.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004. Self-Instruct (Wang et al., arXiv
2212.10560) keeps a new task only if its ROUGE-L with every other task is below 0.7.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from .words import word_pattern

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Number of bins in which words are counted. Words that share a bin only loosen the bound.
_BOXES = 256
_EVERY = 1024


def words(text: str) -> list[str]:
    """Return the words of the text (of :func:`word_pattern`) in lower case."""
    text = text.lower()
    return word_pattern(text).findall(text)


class WordNumbers:
    """Numbers the words of texts, in the order of their first occurrence: four bytes per word."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, text: str) -> array[int]:
        """The numbers of the text's :func:`words`; equal words have equal ones."""
        return array("I", [self._known.setdefault(word, len(self._known)) for word in words(text)])


def common_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Return the length of the longest common subsequence, in words.

    Uses one bit per word of ``first`` (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004), so it
    takes about one step per word of ``second``.
    """
    masks: dict[Hashable, int] = {}
    for place, word in enumerate(first):
        masks[word] = masks.get(word, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        matched = row & masks.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(first) - row.bit_count()


def rouge_l(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Return the F-measure, 0 to 1: twice the common subsequence over both lengths; 0 without words."""
    both = len(first) + len(second)
    return 2 * common_length(first, second) / both if both else 0.0


def greedy_rouge(
    texts: Sequence[Sequence[int]], threshold: float, check: Callable[[int], None]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keep each text whose ROUGE-L with every earlier kept text is below ``threshold``.

    ``texts``: the numbers of their words (:class:`WordNumbers`).
    Returns two arrays of shape ``(texts,)``: the index of the most similar kept text (the first of equals),
    -1 if the text is kept; and that ROUGE-L, NaN if the text is kept. ``check`` is called regularly with the
    number of texts done. The number of shared words bounds the common subsequence, which excludes most pairs
    without computing it.
    """
    import numpy as np

    # Wide enough for a text that repeats a single word.
    counts = np.zeros((len(texts), _BOXES), np.min_scalar_type(max(map(len, texts), default=0)))
    for index, text in enumerate(texts):
        for word in text:
            counts[index, word % _BOXES] += 1
    lengths = np.array([len(text) for text in texts], np.int64)
    nearest = np.full(len(texts), -1, np.int64)
    scores = np.full(len(texts), np.nan)
    kept = np.zeros(len(texts), np.int64)
    number = 0
    for index, text in enumerate(texts):
        if index % _EVERY == 0:
            check(index)
        others = kept[:number]
        shared = np.minimum(counts[others], counts[index]).sum(axis=1, dtype=np.int64)
        bounds = 2 * shared / np.maximum(lengths[others] + lengths[index], 1)
        for other in others[bounds >= threshold].tolist():
            score = rouge_l(text, texts[other])
            if score >= threshold and not score <= scores[index]:
                nearest[index], scores[index] = other, score
        if nearest[index] < 0:
            kept[number] = index
            number += 1
    return nearest, scores
