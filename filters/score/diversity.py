"""How diverse and how complex a set of texts is: pure functions of texts and vectors."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from math import log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def distinct_ngrams(texts: Sequence[str], n: int) -> float:
    """The share of distinct n-grams of words among all of them (Li et al., 2016), 0 to 1; 0 without any.

    It falls as texts are added: compare only sets of one size.
    """
    seen: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        words = text.lower().split()
        ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
        seen.update(ngrams)
        total += len(ngrams)
    return len(seen) / total if total else 0.0


def word_entropy(texts: Sequence[str]) -> float:
    """The entropy of the words of all texts together, in bits per word (Shannon, 1948); 0 without any.

    It rises as texts are added: compare only sets of one size.
    """
    counts = Counter(word for text in texts for word in text.lower().split())
    total = sum(counts.values())
    return sum(count / total * log2(total / count) for count in counts.values())


def compression_ratio(texts: Sequence[str]) -> float:
    """Bytes of all texts together per compressed byte (Shaib et al., 2024): higher where texts repeat each
    other. It rises as texts are added: compare only sets of one size."""
    data = "\n".join(texts).encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data, 9)) if data else 0.0


def vendi_score(vectors: NDArray[np.float32]) -> float:
    """The effective number of different texts (Friedman and Dieng, 2023), 1 to ``n``; 0 for none.

    ``vectors``: float32 ``(n, d)``, unit rows. The exponential of the entropy of the eigenvalues of their
    cosines, divided by n: ``n`` orthogonal vectors score n, n equal ones 1. Costs n * d * d.
    """
    import numpy as np

    if not len(vectors):
        return 0.0
    data = vectors.astype(np.float64)
    # The nonzero eigenvalues of X X' are those of X' X, which is smaller.
    small = data.T @ data if len(data) > data.shape[1] else data @ data.T
    values = np.linalg.eigvalsh(small / len(data))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def mean_nearest_distance(vectors: NDArray[np.float32]) -> float | None:
    """The mean distance (1 - cosine) of each vector to its nearest other one; None for fewer than two."""
    from ..embeddings.cosine import nearest_cosine

    return float(1.0 - nearest_cosine(vectors).mean()) if len(vectors) > 1 else None
