"""Reads COUNT damaged files with the sources, in this process; prints how many were read and how many
refused.

Exit code 1 if one raised an error that is not the source's own, or that does not name the file.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from mutated_files import damaged, prepare
from mutated_files_seeds import seeds

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources import HuggingFaceDataset, Jsonl, Parquet

SOURCES = {"parquet": Parquet, "dataset": HuggingFaceDataset, "jsonl": Jsonl}


class Context:
    def check(self) -> None:
        return None


def main(count: int) -> int:
    read = refused = 0
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "seeds"
        place.mkdir()
        for case, seed, file, data in damaged(count, seeds(place), random.Random(17)):
            prepare(seed, place / case, (file, data))
            try:
                for batch in SOURCES[seed.source](path=str(place / case / seed.path.name)).read(Context()):
                    batch.to_pylist()
                read += 1
            except DataError as error:
                refused += 1
                if seed.path.name not in str(error) or "\n" in str(error):
                    print(f"{case}: {error}", file=sys.stderr)
                    return 1
    print(read, refused)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
