"""ROUGE-L between texts: how much of two word sequences is one common subsequence.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004. Self-Instruct (Wang et al., arXiv
2212.10560) keeps a new task only where its ROUGE-L with every other is below 0.7.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
#: Words are counted in so many boxes; words that share one only make the bound less tight.
_BOXES = 256
_EVERY = 1024


def words(text: str) -> list[str]:
    """The runs of letters, digits and underscores, in lower case."""
    return _WORD.findall(text.lower())


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, in words.

    A bit a word of ``first`` (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004), so about as
    many steps as ``second`` has words.
    """
    masks: dict[str, int] = {}
    for place, word in enumerate(first):
        masks[word] = masks.get(word, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        matched = row & masks.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(first) - row.bit_count()


def rouge_l(first: Sequence[str], second: Sequence[str]) -> float:
    """The F-measure, 0 .. 1: twice the common subsequence over both lengths. 0 where there are no words."""
    both = len(first) + len(second)
    return 2 * common_length(first, second) / both if both else 0.0


def greedy_rouge(
    texts: Sequence[Sequence[str]], threshold: float, check: Callable[[int], None]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keeps each text whose ROUGE-L with every text kept before is below ``threshold``.

    Returns (nearest, score), of the number of texts each: the index of the kept text that one resembles most (the
    first of equals), -1 where it is kept; and that ROUGE-L, NaN where it is kept. ``check`` is called now and then with
    the number done. The words that two texts share bound their common subsequence, so most pairs need no more than that.
    """
    import numpy as np

    # Wide enough for a text that says one word again and again.
    counts = np.zeros((len(texts), _BOXES), np.min_scalar_type(max(map(len, texts), default=0)))
    boxes: dict[str, int] = {}
    for index, text in enumerate(texts):
        for word in text:
            box = boxes.setdefault(word, len(boxes) % _BOXES)
            counts[index, box] += 1
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
