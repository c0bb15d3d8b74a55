"""K-means on given embeddings, beside faiss and scikit-learn: seconds at which inertia; and the whole
selection.

Usage: python benchmarks/filters_kmeans.py [ROWS] [CLUSTERS] [--repeats N]
Each case runs in a fresh process, N times in turn with the others (the median counts).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Figure, median, peers_python, run_case, this_python, versions, write
from planted_vectors import planted

CASE = str(Path(__file__).parent / "filters_vectors.py")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("rows", nargs="?", type=int, default=100_000)
    arguments.add_argument("clusters", nargs="?", type=int, default=1_000)
    arguments.add_argument("--also", nargs="*", default=["sklearn k-means"], help="slow peers")
    arguments.add_argument("--repeats", type=int, default=3)
    asked = arguments.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, planted(asked.rows)[0])
        for _ in range(asked.repeats):
            for name in ("our k-means", "our select", "faiss k-means", *asked.also):
                python = this_python(CASE) if name.startswith("our") else [str(peers_python()), CASE]
                case = run_case([*python, name, str(path), str(asked.clusters)], timeout=1800)
                runs.setdefault(name, []).append(case.answer | {"peak_mib": case.peak_mib})
                print(name, runs[name][-1], "load", os.getloadavg()[0], flush=True)
    results = {
        name: {key: median([run[key] for run in each]) for key in each[0]} for name, each in runs.items()
    }
    peer = results["faiss k-means"]["seconds"]
    version = versions("faiss-cpu").get("faiss-cpu", "")
    figures = [
        Figure(
            what, "s", results[name]["seconds"], peer, "faiss", version, peer / results[name]["seconds"], aim
        )
        for what, name, aim in (
            (f"k-means, k = {asked.clusters:,}, {asked.rows:,} x 384", "our k-means", "1.00"),
            ("select: cluster_quota, end to end", "our select", "0.77"),
        )
    ]
    packages = versions("faiss-cpu", "scikit-learn", "numpy")
    write("filters_kmeans", figures, packages, {"cases": results, "load": os.getloadavg()})


if __name__ == "__main__":
    main()
