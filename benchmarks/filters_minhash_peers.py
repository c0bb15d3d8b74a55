"""One case of filters_minhash.py: a peer, in its own environment.

``python filters_minhash_peers.py ROWS.parquet KEPT.npy THRESHOLD PEER``. Each gets word 3-grams and 128
permutations (datatrove: its default 14 bands of 8), and says which rows it keeps.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

_WORD = re.compile(r"\w+")


def grams(text: str) -> list[str]:
    words = _WORD.findall(text.casefold())
    return list({" ".join(words[at : at + 3]) for at in range(len(words) - 2)}) or [text]


def rensa(texts: list[str], threshold: float) -> np.ndarray:
    """rensa's streaming deduplicator."""
    from rensa import RMinHash, RMinHashDeduplicator

    known = RMinHashDeduplicator(threshold=threshold, num_perm=128, use_lsh=True, num_bands=16)
    kept = np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        signature = RMinHash(num_perm=128, seed=42)
        signature.update(grams(text))
        kept[row] = known.add(str(row), signature)
    return kept


def rensa_words(texts: list[str], threshold: float) -> np.ndarray:
    """The same on single words, as its README does: faster, and another question."""
    from rensa import RMinHash, RMinHashDeduplicator

    known = RMinHashDeduplicator(threshold=threshold, num_perm=128, use_lsh=True, num_bands=16)
    kept = np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        signature = RMinHash(num_perm=128, seed=42)
        signature.update(text.split())
        kept[row] = known.add(str(row), signature)
    return kept


def datasketch(texts: list[str], threshold: float) -> np.ndarray:
    """Signatures in bulk with xxhash, then a row goes if the index has a candidate for it."""
    from datasketch import MinHash, MinHashLSH
    from xxhash import xxh32_intdigest

    index = MinHashLSH(threshold=threshold, num_perm=128)
    signatures: dict[int, MinHash] = {}
    for start in range(0, len(texts), 1000):
        some = [[gram.encode() for gram in grams(text)] for text in texts[start : start + 1000]]
        for row, signature in enumerate(MinHash.bulk(some, num_perm=128, hashfunc=xxh32_intdigest), start):
            if not any(signatures[key].jaccard(signature) >= threshold for key in index.query(signature)):
                index.insert(row, signature)
                signatures[row] = signature
    kept = np.zeros(len(texts), bool)
    kept[list(signatures)] = True
    return kept


def datatrove(texts: list[str], threshold: float) -> np.ndarray:
    """Its four stages over local files; the threshold follows from its 14 bands of 8 hashes."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from loguru import logger

    logger.remove()
    config = MinhashConfig(n_grams=3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = lambda: (Document(text=text, id=str(row)) for row, text in enumerate(texts))  # noqa: E731
        signing = MinhashDedupSignature(str(folder / "signatures"), config)
        signing.run(rows(), 0, 1)
        for bucket in range(config.num_buckets):
            pairing = MinhashDedupBuckets(str(folder / "signatures"), str(folder / "pairs"), config=config)
            pairing.run(None, bucket, config.num_buckets)
        MinhashDedupCluster(str(folder / "pairs"), str(folder / "remove"), config).run(None, 0, 1)
        kept = np.zeros(len(texts), bool)
        for document in MinhashDedupFilter(str(folder / "remove")).run(rows(), 0, 1):
            kept[int(document.id)] = True
    return kept


def main() -> None:
    data, out, threshold, peer = sys.argv[1:]
    texts = pq.read_table(data, columns=["text"]).column("text").to_pylist()
    way = {"rensa": rensa, "rensa_words": rensa_words, "datasketch": datasketch, "datatrove": datatrove}[peer]
    wall, cpu = time.perf_counter(), time.process_time()
    kept = way(texts, float(threshold))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(out, kept)
    print(json.dumps({"seconds": wall, "cpu_seconds": cpu, "rows": len(texts)}))


if __name__ == "__main__":
    main()
