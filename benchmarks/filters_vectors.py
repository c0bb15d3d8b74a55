"""One case of filters_semantic.py or filters_kmeans.py, in a fresh process: prints its figures as JSON.

Usage: filters_vectors.py CASE VECTORS.npy [NUMBER]. The vectors are read into memory before the clock starts.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Found = dict[str, Any]


def ours(vectors: np.ndarray, threshold: float, method: str) -> Found:
    from gristmill.filters.embeddings.duplicates import greedy_duplicates

    return {"dropped": greedy_duplicates(vectors, threshold, method=method).duplicate_of >= 0}


def semhash(vectors: np.ndarray, threshold: float) -> Found:
    from semhash import SemHash

    class Given:
        def encode(self, records: Any, **_: Any) -> np.ndarray:
            return vectors[[int(record) for record in records]]

    hashed = SemHash.from_embeddings(vectors, [str(row) for row in range(len(vectors))], model=Given())
    kept = {int(record) for record in hashed.self_deduplicate(threshold=threshold).selected}
    return {"dropped": np.array([row not in kept for row in range(len(vectors))])}


def faiss_search(vectors: np.ndarray, threshold: float, ivf: bool) -> Found:
    """A row is dropped if an earlier one that is kept is within the threshold (range search)."""
    import faiss

    width = vectors.shape[1]
    index: Any = faiss.IndexFlatIP(width)
    if ivf:
        lists = round(len(vectors) ** 0.5)
        index = faiss.IndexIVFFlat(index, width, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.nprobe = 16
    index.add(vectors)
    dropped = np.zeros(len(vectors), dtype=bool)
    for start in range(0, len(vectors), 4096):
        edges, _, others = index.range_search(vectors[start : start + 4096], threshold)
        for row in range(len(edges) - 1):
            near = others[edges[row] : edges[row + 1]]
            near = near[near < start + row]
            dropped[start + row] = bool(len(near)) and not dropped[near].all()
    return {"dropped": dropped}


def our_kmeans(vectors: np.ndarray, clusters: int) -> Found:
    from gristmill.filters.embeddings.kmeans import kmeans

    return {"inertia": kmeans(vectors, clusters, seed=0).inertia}


def our_select(vectors: np.ndarray, clusters: int) -> Found:
    """``select: cluster_quota`` end to end, with the vectors given by the embedder."""
    import pyarrow as pa

    from gristmill.filters.select.cluster_quota import ClusterQuota

    class Given:
        dimensions = vectors.shape[1]
        embedded = reused = 0

        def encode(self, texts: Any) -> np.ndarray:
            return vectors[[int(text) for text in texts]]

        def missing(self, texts: Any) -> list[str]:
            return []

    class Context:
        seed = 0

        def embedder(self, name: Any) -> Any:
            return Given()

        def check(self) -> None:
            return

        def progress(self, *_: Any) -> None:
            return

    texts = [str(row) for row in range(len(vectors))]
    select = ClusterQuota(rows=10_000, clusters=clusters, columns=("text",))
    context: Any = Context()
    result: Any = select.apply(pa.table({"_id": texts, "text": texts}), context)
    return {"chosen": int(result.kept.sum())}


def faiss_kmeans(vectors: np.ndarray, clusters: int) -> Found:
    import faiss

    training = faiss.Kmeans(vectors.shape[1], clusters, seed=1)
    training.train(vectors)
    return {"inertia": float(training.index.search(vectors, 1)[0].mean())}


def sklearn_kmeans(vectors: np.ndarray, clusters: int) -> Found:
    from sklearn.cluster import KMeans

    fitted = KMeans(clusters, init="random", n_init=1, max_iter=25, random_state=0).fit(vectors)
    return {"inertia": float(fitted.inertia_) / len(vectors)}


#: Name -> the case, and the modules that are imported before the clock starts.
CASES: dict[str, tuple[Callable[[np.ndarray, Any], Found], str]] = {
    "ours": (lambda v, t: ours(v, t, "auto"), "faiss sklearn.cluster"),
    "ours, cells": (lambda v, t: ours(v, t, "cells"), "faiss sklearn.cluster"),
    "semhash": (semhash, "semhash"),
    "faiss flat": (lambda v, t: faiss_search(v, t, ivf=False), "faiss"),
    "faiss IVF": (lambda v, t: faiss_search(v, t, ivf=True), "faiss"),
    "our k-means": (lambda v, k: our_kmeans(v, int(k)), "faiss sklearn.cluster"),
    "our select": (lambda v, k: our_select(v, int(k)), "faiss sklearn.cluster pyarrow"),
    "faiss k-means": (lambda v, k: faiss_kmeans(v, int(k)), "faiss"),
    "sklearn k-means": (lambda v, k: sklearn_kmeans(v, int(k)), "sklearn.cluster"),
}


def main() -> None:
    name, path, number = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    case, modules = CASES[name]
    for module in modules.split():
        importlib.import_module(module)
    vectors = np.load(path, mmap_mode="r" if "mapped" in path.name else None)
    wall, processor = time.perf_counter(), time.process_time()
    found = case(vectors, number)
    answer = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - processor}
    if "dropped" in found:
        np.save(path.with_suffix(".dropped.npy"), found.pop("dropped"))
    print(json.dumps(answer | found))


if __name__ == "__main__":
    main()
