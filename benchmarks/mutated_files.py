"""Damaged input files: each must be read, or refused with one clear line.

    python -P benchmarks/mutated_files.py [--files 5000] [--quick] [--seed N] [--workers N] [--keep FOLDER]

Small files of every format that a source reads (Parquet, Arrow files and streams, folders of
Dataset.save_to_disk, JSON Lines plain and packed), with columns of every Arrow type, are damaged: flipped
bits, truncation, spliced blocks, wrong lengths. Each goes through ``gristmill plan`` and ``run`` (read,
commit, export) in a fork of one warm process, and is

- read: exit code 0 (damage without a checksum cannot be distinguished from data);
- refused: exit code 1, and one error line that names the file;
- unclear: any other output or exit code, including "internal error";
- signal: the process was killed by a signal;
- hang: not finished within a minute.

The exit code is 1 if one of the last three happened; those files are kept in ``--keep``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from measuring import machine, versions
from mutated_files_damage import DAMAGES
from mutated_files_forks import FATES, HARM, Forks, warm
from mutated_files_seeds import Seed, seeds

RESULT = Path(__file__).parent / "results" / "mutated_files.json"
PIPELINE = """\
gristmill: 1
name: mutated
steps:
  rows: {{source: {source}, path: {path}}}
  parquet: {{export: parquet, from: rows}}
  {lines}
"""
LINES = "lines: {export: jsonl, from: rows}"
Table = dict[str, Counter[str]]


def prepare(seed: Seed, folder: Path, damaged: tuple[Path, bytes] | None = None) -> None:
    """Make a case folder with a copy of the seed and a pipeline that reads it.

    One file may be replaced by other bytes.
    """
    folder.mkdir(parents=True)
    target = folder / seed.path.name
    (shutil.copytree if seed.path.is_dir() else shutil.copyfile)(seed.path, target)
    if damaged is not None:
        file, data = damaged
        (target / file.name if target.is_dir() else target).write_bytes(data)
    lines = LINES if seed.as_lines else ""
    (folder / "t.yaml").write_text(
        PIPELINE.format(source=seed.source, path=json.dumps(str(target)), lines=lines)
    )


def damaged(count: int, found: list[Seed], draw: random.Random) -> Iterator[tuple[str, Seed, Path, bytes]]:
    """Yield ``count`` cases, equally many per kind: name, seed, damaged file, and its new bytes."""
    kinds = sorted({seed.kind for seed in found})
    damages = list(DAMAGES)
    for number in range(count):
        kind, damage = kinds[number % len(kinds)], damages[number // len(kinds) % len(damages)]
        alike = [seed for seed in found if seed.kind == kind]
        seed = draw.choice(alike)
        file = draw.choice(seed.files)
        other = draw.choice(draw.choice(alike).files)
        data = DAMAGES[damage](file.read_bytes(), other.read_bytes(), draw)
        yield f"{number:06d} {damage} {kind} {seed.name}".replace(" ", "-"), seed, file, data


def campaign(count: int, number: int, workers: int, keep: Path | None) -> Table:
    """Read all seeds and ``count`` damaged files. Returns kind -> outcome -> files."""
    table: Table = {}
    with tempfile.TemporaryDirectory(prefix="mutated-") as scratch:
        place = Path(scratch)
        (place / "seeds").mkdir()
        found = seeds(place / "seeds")
        for source, seed in {seed.source: seed for seed in found}.items():
            prepare(seed, place / source)
            warm(place / source)
        forks = Forks(place / "cases", workers, keep)
        kinds = {}
        for index, seed in enumerate(found):
            case = f"undamaged-{index}"
            kinds[case] = "undamaged"
            prepare(seed, forks.folder / case)
            forks.start(case, seed.path.name)
        for case, seed, file, data in damaged(count, found, random.Random(number)):
            kinds[case] = seed.kind
            prepare(seed, forks.folder / case, (file, data))
            forks.start(case, seed.path.name)
        forks.finish()
    for case, result in forks.outcomes.items():
        table.setdefault(kinds[case], Counter())[result.fate] += 1
    return table


def show(table: Table) -> None:
    print(f"{'format':<16}" + "".join(f"{fate:>9}" for fate in FATES))
    for kind, counts in sorted(table.items()):
        print(f"{kind:<16}" + "".join(f"{counts[fate]:>9,}" for fate in FATES))


def write(table: Table, count: int, number: int) -> None:
    content = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions("pyarrow", "datasets"),
        "files": count,
        "seed": number,
        "fates": {kind: {fate: counts[fate] for fate in FATES} for kind, counts in sorted(table.items())},
    }
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--quick", action="store_true", help="300 files, and no result is written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", type=Path, help="folder for harmful files")
    given = parser.parse_args()
    started = time.monotonic()
    count = 300 if given.quick else given.files
    table = campaign(count, given.seed, given.workers, given.keep)
    show(table)
    harm = sum(counts[fate] for counts in table.values() for fate in HARM)
    print(f"{count:,} damaged files in {time.monotonic() - started:.0f} s: harm in {harm}")
    if not given.quick:
        write(table, count, given.seed)
    return 1 if harm else 0


if __name__ == "__main__":
    sys.exit(main())
