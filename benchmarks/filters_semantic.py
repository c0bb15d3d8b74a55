"""Semantic deduplication of given embeddings, beside semhash and faiss: rows per second, memory, and recall.

Usage: python benchmarks/filters_semantic.py [ROWS …] [--repeats N]
Each case runs in a fresh process, N times in turn with the others (the median counts). The cosine is 0.9.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Figure, median, peers_python, run_case, this_python, versions, write
from planted_vectors import planted, precision_and_recall

THRESHOLD = 0.9
CASE = str(Path(__file__).parent / "filters_vectors.py")
OURS, PEERS = ("ours", "ours, cells"), ("faiss IVF", "faiss flat", "semhash")
#: Peers that take many minutes beyond this many rows.
FLAT_ROWS = 100_000


def measure(rows: int, repeats: int) -> dict[str, dict[str, Any]]:
    vectors, source = planted(rows)
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("mapped.npy" if rows > FLAT_ROWS else "vectors.npy")
        np.save(path, vectors)
        for _ in range(repeats):
            for name in (*OURS, *PEERS):
                if rows > FLAT_ROWS and name in ("faiss flat", "semhash"):
                    continue
                python = this_python(CASE) if name in OURS else [str(peers_python()), CASE]
                case = run_case([*python, name, str(path), str(THRESHOLD)], timeout=1800)
                dropped = np.load(path.with_suffix(".dropped.npy"))
                precision, recall = precision_and_recall(vectors, source, THRESHOLD, dropped)
                found.setdefault(name, []).append(
                    case.answer | {"peak_mib": case.peak_mib, "precision": precision, "recall": recall}
                )
                print(rows, name, found[name][-1], "load", os.getloadavg()[0], flush=True)
    return {
        name: {key: median([run[key] for run in runs]) for key in runs[0]} for name, runs in found.items()
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("rows", nargs="*", type=int, default=[100_000, 500_000])
    arguments.add_argument("--repeats", type=int, default=3)
    asked = arguments.parse_args()
    figures, more = [], {}
    for rows in asked.rows:
        results = more[str(rows)] = measure(rows, asked.repeats)
        mine = rows / results["ours"]["seconds"]
        for name, aim in (("semhash", "3.0"), ("faiss IVF", "1.0"), ("faiss flat", "1.0")):
            if name in results:
                theirs = rows / results[name]["seconds"]
                what = f"semantic, {rows:,} x 384, at {THRESHOLD}"
                package = name.split()[0].replace("faiss", "faiss-cpu")
                version = versions("faiss-cpu").get(package, "")
                figures.append(Figure(what, "rows/s", mine, theirs, name, version, mine / theirs, aim))
    packages = versions("faiss-cpu", "numpy")
    write("filters_semantic", figures, packages, {"cases": more, "load": os.getloadavg()})


if __name__ == "__main__":
    main()
