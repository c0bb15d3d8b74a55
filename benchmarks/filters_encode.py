"""Encoding texts with the packaged MiniLM: ours beside a plain sentence-transformers loop, in the same run.

    python benchmarks/filters_encode.py TEXTS.jsonl --columns instruction output --rows 400

Each case runs alone in a fresh process, alternating, three times; the medians are printed and written to
`results/filters_encode.json`. Loading the model is not counted. The cosines compare our vectors with those of
the plain loop.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CASES = ("plain", "float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path, help="a JSON Lines file")
    parser.add_argument("--columns", nargs="+", default=["instruction", "output"])
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--case", choices=CASES, help="run one case and print its figures")
    parser.add_argument("--vectors", type=Path, help="where one case saves its vectors")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(given.case, read(given.texts, given.columns, given.rows), given.vectors)))
        return
    compare(given)


def read(path: Path, columns: list[str], rows: int) -> list[str]:
    """The texts of the first rows: their columns joined by line breaks."""
    with open(path, encoding="utf-8") as lines:
        found = [json.loads(line) for _, line in zip(range(rows), lines)]
    return ["\n".join(str(row.get(name) or "") for name in columns) for row in found]


def measure(case: str, texts: list[str], target: Path | None) -> dict[str, float]:
    """Seconds (wall and CPU) to encode the texts."""
    import numpy as np

    from gristmill.pipelines.weights import DEFAULT_EMBEDDER, resolve

    weights = resolve(DEFAULT_EMBEDDER)
    if case == "plain":
        from sentence_transformers import SentenceTransformer

        encode = SentenceTransformer(str(weights.path), device="cpu").encode
    else:
        from gristmill.pipelines.engines.sentence_embedder import load

        encode = load(weights, device="cpu", dtype=case).encode
    encode(texts[:8])
    started, cpu = time.perf_counter(), time.process_time()
    vectors = np.asarray(encode(texts))
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    if target is not None:
        np.save(target, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return {"seconds": seconds, "cpu_seconds": used}


def compare(given: argparse.Namespace) -> None:
    """Run the cases in turn, print a table and write the figures."""
    import tempfile

    import numpy as np
    from measuring import Figure, versions, write

    figures: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            for case in CASES:
                command = [sys.executable, "-P", __file__, str(given.texts), "--rows", str(given.rows)]
                command += ["--case", case, "--vectors", f"{folder}/{case}.npy", "--columns", *given.columns]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                figures[case].append(json.loads(said.splitlines()[-1]))
        vectors = {case: np.load(f"{folder}/{case}.npy") for case in CASES}
    results: dict[str, dict[str, float]] = {}
    for case, runs in figures.items():
        cosines = (vectors[case] * vectors["plain"]).sum(axis=1)
        medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        results[case] = {
            "texts_per_second": given.rows / medians["seconds"],
            "texts_per_two_cpu_seconds": 2 * given.rows / medians["cpu_seconds"],
            "lowest_cosine": float(cosines.min()),
            "mean_cosine": float(cosines.mean()),
        }
        print(f"{case:>10}", *(f"{name} {value:.5g}" for name, value in results[case].items()), sep="  ")
    peer = results["plain"]["texts_per_second"]
    packages = versions("sentence-transformers", "torch")
    compared = [
        Figure(
            f"encoding {given.rows} texts by MiniLM in {case}",
            "texts/s",
            results[case]["texts_per_second"],
            peer,
            "sentence-transformers",
            packages["sentence-transformers"],
            results[case]["texts_per_second"] / peer,
            "1.5",
        )
        for case in ("float32", "bfloat16")
    ]
    write("filters_encode", compared, packages, {"cases": results, "load": os.getloadavg()})


if __name__ == "__main__":
    main()
