"""Near-duplicates by MinHash at 0.7: rows per second, CPU seconds, memory, precision and recall.

    python -P benchmarks/filters_minhash.py --data FOLDER [--rows 200000] [--rounds 3] [--quick]

The documents are passages of the JSON Lines files in FOLDER and of the docstrings of installed packages; 30 %
are near-copies with up to 8 % of the words changed. Each case runs in a fresh process, on one thread. The
sides alternate, and medians over the rounds are reported. The truth is computed apart, from plain sets of
words. datasketch and datatrove take a tenth of the rows, since they
are slow. `load` in the results is the load of the
machine: on a busy machine the CPU seconds say more than the rows per second.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
from measuring import Case, Figure, median, peers_python, run_case, this_python, versions, write
from near_copies import Truth, documents

HERE = Path(__file__).parent
THRESHOLD = 0.7
PEERS = {"rensa": "0.5.0", "rensa_words": "0.5.0", "datasketch": "2.0.0", "datatrove": "0.10.1"}
SLOW = ("datasketch", "datatrove")


def case(name: str, data: Path, out: Path) -> Case:
    if name in PEERS:
        command = [str(peers_python()), str(HERE / "filters_minhash_peers.py")]
    else:
        command = this_python(str(HERE / "filters_minhash_ours.py"))
    return run_case([*command, str(data), str(out), str(THRESHOLD), name], timeout=3600)


def measured(cases: list[Case]) -> dict[str, float]:
    answers = [each.answer for each in cases]
    return {
        "rows": answers[0]["rows"],
        "rows_per_second": median([each["rows"] / each["seconds"] for each in answers]),
        "cpu_seconds": median([each["cpu_seconds"] for each in answers]),
        "rows_per_cpu_second": median([each["rows"] / each["cpu_seconds"] for each in answers]),
        "peak_mib": median([each.peak_mib for each in cases]),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="20,000 rows, one round")
    given = parser.parse_args()
    rows, rounds = (20_000, 1) if given.quick else (given.rows, given.rounds)
    table = documents(given.data, Path(sysconfig.get_paths()["purelib"]), rows)
    few = table.filter(np.arange(rows) < rows // 10)
    few = few.set_column(2, "copy_of", [np.where((of := few.column(2).to_numpy()) < rows // 10, of, -1)])
    tables = dict.fromkeys(("components", "greedy", *PEERS), table) | dict.fromkeys(SLOW, few)
    ran: dict[str, list[Case]] = {name: [] for name in tables}
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        for name, each in tables.items():
            pq.write_table(each, Path(folder) / f"{name}.parquet")
        for _ in range(rounds):
            for name in tables:
                ran[name].append(case(name, Path(folder) / f"{name}.parquet", Path(folder) / f"{name}.npy"))
                load.append(os.getloadavg()[0])
        kept = {name: np.load(Path(folder) / f"{name}.npy") for name in tables}
    truths = {rows: Truth(table, THRESHOLD), rows // 10: Truth(few, THRESHOLD)}
    results: dict[str, Any] = {
        name: measured(cases) | truths[len(kept[name])].judge(kept[name]) for name, cases in ran.items()
    }
    for name, result in results.items():
        print(name, {key: round(value, 4) for key, value in result.items()})
    ours = results["components"]
    figures = [
        Figure(
            f"MinHash at {THRESHOLD}, {rows:,} documents",
            "rows/s",
            ours["rows_per_second"],
            results[name]["rows_per_second"],
            name,
            version,
            ours["rows_per_second"] / results[name]["rows_per_second"],
            "100k rows/s, recall 0.90, precision 0.999",
        )
        for name, version in PEERS.items()
    ]
    write("filters_minhash", figures, versions("numpy", "pyarrow"), {"cases": results, "load": load})


if __name__ == "__main__":
    main()
