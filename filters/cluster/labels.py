"""Names of clusters: the terms that set each apart from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Rows per cluster whose texts are read, those nearest to the centroid.
ROWS = 200
#: Characters of each text that are read.
CHARACTERS = 4000


def central_rows(
    labels: NDArray[np.int32], cosines: NDArray[np.float64], rows: int = ROWS
) -> NDArray[np.int64]:
    """Return the ``rows`` rows of each cluster nearest to its centroid, by cluster, nearest first.

    ``labels``: int32 ``(n,)``, 0 to k - 1; ``cosines``: float64 ``(n,)``. Ties are in row order.
    """
    import numpy as np

    order = np.lexsort((-cosines, labels))
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(labels)) - starts[labels[order]]
    found: NDArray[np.int64] = order[place < rows]
    return found


def top_terms(texts: Sequence[str], labels: NDArray[np.int32], terms: int = 3) -> list[list[str]]:
    """Return the ``terms`` most telling words of each cluster, best first, by class-based TF-IDF.

    ``labels``: the cluster of each text, 0 to k - 1. The texts of a cluster count as one document, in which
    the share of a word is weighted by log(1 + words per cluster / occurrences in all clusters) (Grootendorst,
    2022). A cluster without words of two letters or more has no terms. Of equal words the alphabetically
    first comes first.
    """
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    clusters = int(labels.max(initial=-1)) + 1
    counter = CountVectorizer(token_pattern=r"(?u)\b[^\W\d]\w+\b")
    documents = [""] * clusters
    for text, label in zip(texts, labels.tolist()):
        documents[label] += text[:CHARACTERS] + "\n"
    try:
        frequency = counter.fit_transform(documents)
    except ValueError:  # No text has a word.
        return [[] for _ in documents]
    totals = np.asarray(frequency.sum(axis=1)).ravel()
    everywhere = np.asarray(frequency.sum(axis=0)).ravel()
    rarity = np.log1p(totals.sum() / max(clusters, 1) / everywhere)
    words = counter.get_feature_names_out()
    found = []
    for cluster in range(clusters):
        row = frequency[[cluster]]
        weights = row.data * rarity[row.indices]
        order = np.lexsort((row.indices, -weights))[:terms]
        found.append([str(words[index]) for index in row.indices[order]])
    return found
