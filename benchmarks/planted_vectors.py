"""Synthetic embeddings with planted near-copies, and how well a choice found them."""

from __future__ import annotations

import numpy as np


def planted(rows: int, width: int = 384, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors float32 ``(rows, width)``, and for each the number of the vector it was copied
    from.

    They lie around rows / 100 topics and have a falling spectrum, as embeddings of text have. A fifth of them
    are copies of others, with cosines spread evenly from 0.85 to 0.999 (so that at a threshold of 0.9 a third
    are hard negatives). The number is -1 for an original. The order is random.
    """
    draw = np.random.default_rng(seed)
    copies = rows // 5
    scale = (1 / np.sqrt(np.arange(width) + 10)).astype(np.float32)
    topics = draw.standard_normal((max(1, rows // 100), width), dtype=np.float32) * scale
    base = topics[draw.integers(0, len(topics), rows - copies)]
    base += 0.9 * draw.standard_normal(base.shape, dtype=np.float32) * scale
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    source = draw.integers(0, len(base), copies)
    cosine = draw.uniform(0.85, 0.999, copies).astype(np.float32)[:, None]
    aside = draw.standard_normal((copies, width), dtype=np.float32) * scale
    aside -= (aside * base[source]).sum(axis=1, keepdims=True) * base[source]
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    vectors = np.concatenate((base, cosine * base[source] + np.sqrt(1 - cosine**2) * aside))
    order = draw.permutation(rows)
    place = np.argsort(order)
    return vectors[order], np.concatenate((np.full(len(base), -1), place[source]))[order]


def precision_and_recall(
    vectors: np.ndarray, source: np.ndarray, threshold: float, dropped: np.ndarray
) -> tuple[float, float]:
    """Compare the dropped rows with the planted pairs that reach the threshold.

    Recall: the share of those pairs of which not both rows are left. Precision: the share of the dropped rows
    that belong to such a pair (two copies of one original can be a pair too, so their family counts).
    """
    copies = np.flatnonzero(source >= 0)
    cosines = (vectors[copies] * vectors[source[copies]]).sum(axis=1)
    close = copies[cosines >= threshold]
    found = dropped[close] | dropped[source[close]]
    family = np.zeros(len(vectors), dtype=bool)
    family[copies] = family[source[copies]] = True
    return float(family[dropped].mean()) if dropped.any() else 1.0, float(found.mean())
