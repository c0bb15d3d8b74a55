"""Does a whole-table step keep to its memory as the rows grow? Rows per second and peak memory, by rows.

    python benchmarks/filters_growth.py [--rows 10000 100000 1000000] [--memory 1GB] [--step "dedup: exact"]

The rows are synthetic texts of about 120 characters, of which a quarter repeat an earlier one. Each case is
`gristmill run` in a fresh process: a Parquet source and the step. Peak memory is the resident set of that
process, with Python and Arrow, which take about 150 MB. The source is read before the step: the seconds are
those of the step alone, as the run records them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH = 250_000
WORDS = 4096


def write_texts(path: Path, rows: int) -> None:
    """Texts of 16 words. A quarter have the words of an earlier row."""
    vocabulary = pa.array([f"w{n * 7919 % 1_000_003:06d}" for n in range(WORDS)])
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())]), compression="zstd") as writer:
        for start in range(0, rows, BATCH):
            numbers = np.arange(start, min(start + BATCH, rows), dtype=np.uint64)
            draw = np.random.default_rng(start)
            copies = draw.random(len(numbers)) < 0.25
            numbers[copies] = (numbers[copies] * np.uint64(2654435761)) % np.uint64(start + 1)
            columns = []
            for place in range(16):
                mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(
                    place * 0xBF58476D1CE4E5B9 % 2**63
                )
                mixed ^= mixed >> np.uint64(29)
                mixed *= np.uint64(0x94D049BB133111EB)
                columns.append(vocabulary.take(pa.array((mixed >> np.uint64(40)) % np.uint64(WORDS))))
            writer.write_table(pa.table({"text": pc.binary_join_element_wise(*columns, " ")}))


def run_step(source: Path, out: Path, step: str, memory: str) -> tuple[float, float, dict[str, int]]:
    """(seconds of the step, peak MB of the process, ledger)."""
    file = out.with_suffix(".yaml")
    file.write_text(
        f"gristmill: 1\nname: growth\nsteps:\n  rows: {{source: parquet, path: '{source}'}}\n"
        f"  step: {{{step}, from: rows}}\n"
    )
    command = [
        str(Path(sys.executable).with_name("gristmill")), "run", str(file), "--trust", "--run", str(out),
        "--memory", memory, "--quiet", "--no-report",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run failed: {' '.join(command)}")
    manifest = json.loads(next(out.glob("steps/step-*/manifest.json")).read_text())
    return manifest["seconds"], usage.ru_maxrss / 1000, manifest["ledger"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--step", default="dedup: exact")
    arguments = parser.parse_args()
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "texts.parquet"
            write_texts(source, rows)
            seconds, peak, ledger = run_step(source, Path(folder) / "run", arguments.step, arguments.memory)
            print(
                f"{rows:>11,} rows  {seconds:8.1f} s  {rows / seconds:>12,.0f} rows/s  peak {peak:7,.0f} MB  "
                f"kept {ledger['kept']:,}"
            )


if __name__ == "__main__":
    main()
