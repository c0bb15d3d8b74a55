"""Filters beside their peers: every comparison of this folder that has to do with them, one after another.

    python benchmarks/filters.py --data FOLDER [--only NAME ...]

FOLDER holds JSON Lines files with real texts; `code_alpaca.jsonl` among them is encoded. Each comparison is a
script of its own, `filters_NAME.py`, which says what it measures and writes `results/filters_NAME.json`. Run
it on an idle machine: the sides of a comparison take turns, but each uses the machine as it finds it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def commands(data: Path) -> dict[str, list[str]]:
    """The arguments of each comparison, by its name."""
    return {
        "exact": ["--data", str(data)],
        "minhash": ["--data", str(data)],
        "semantic": [],
        "kmeans": [],
        "decontaminate": ["--data", str(data)],
        "encode": [str(data / "code_alpaca.jsonl"), "--columns", "instruction", "output"],
        "growth": [],
        "same_rows": [],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=sorted(commands(Path())), default=None)
    args = parser.parse_args()
    failed = []
    for name, arguments in commands(args.data).items():
        if args.only is not None and name not in args.only:
            continue
        started = time.monotonic()
        print(f"== {name}", flush=True)
        done = subprocess.run([sys.executable, str(HERE / f"filters_{name}.py"), *arguments])
        print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
