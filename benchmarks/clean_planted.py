"""The recipe `clean` on real data sets, with rows planted that it should drop: which of them it finds.

    python benchmarks/clean_planted.py --data FOLDER [--run FOLDER] [--alike 0.9]

FOLDER holds the data sets and the evaluation sets as JSON Lines files (`DATA` and `EVALS` of
`clean_planted_rows.py`, which makes the planted rows). The recipe runs with all its steps, the embedder too,
and compares meanings with the evaluation sets (`vars.alike`; with 0 it does not, which takes a third of the
time and leaves some items in other words). Then the run is read: the step that dropped
each planted row; whether every row of the files is exported, filtered or failed, once; and whether those
exported have all their fields. Prints the counts, writes `results/clean_planted.json`, and fails if a planted
row is left or a row or field is lost.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clean_planted_rows import COPIES, DATA, EVALS, KINDS, PER_KIND, planted, read
from measuring import Figure, versions, write


def run(data: Path, rows: Iterable[Mapping[str, Any]], folder: Path, alike: float) -> None:
    """Run the recipe over the data sets and the planted rows."""
    folder.mkdir(parents=True, exist_ok=True)
    more = folder / "planted.jsonl"
    more.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    files = [*(str((data / f"{name}.jsonl").resolve()) for name in DATA), str(more.resolve())]
    evals = [str((data / f"{name}.jsonl").resolve()) for name in EVALS]
    command = [str(Path(sys.executable).with_name("gristmill")), "run", "clean", "--run", str(folder / "run")]
    command += ["--set", f"vars.data={json.dumps(files)}", "--set", f"vars.evals={json.dumps(evals)}"]
    command += ["--set", f"vars.alike={alike or 'null'}", "--quiet"]
    subprocess.run(command, check=True)


def own(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """The row's own fields that have a value, as text."""
    return json.dumps(_known({name: row.get(name) for name in names}), sort_keys=True)


def _known(value: Any) -> Any:
    """Without nulls: rows of other layouts lack these fields."""
    if isinstance(value, dict):
        return {name: _known(each) for name, each in value.items() if each is not None}
    return [_known(each) for each in value] if isinstance(value, list) else value


class Found:
    """What became of the rows of a run."""

    def __init__(self, run: Path, names: Iterable[str]) -> None:
        import gristmill

        #: Kind -> step -> planted rows that it found. A copy is found if it is dropped, or the row that it
        #: repeats and that names it.
        self.found: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        #: Step -> rows of the data sets that it dropped.
        self.dropped: Counter[str] = Counter()
        #: Every row of the files, as often as it was exported, filtered or failed.
        self.rows: Counter[str] = Counter()
        steps = gristmill.open_run(run)
        read = steps["read"].to_arrow()
        kinds = {row: kind for row, kind in zip(read["_id"].to_pylist(), read["planted"].to_pylist()) if kind}
        for name in steps:
            if name in ("items", "evals", "dataset"):
                continue
            gone = [row for row in steps[name].outcomes().to_pylist() if row["_fate"] != "kept"]
            self.rows.update(own(row, names) for row in gone)
            for row in gone:
                if not row.get("planted"):
                    self.dropped[name] += 1
                for found in {row["_id"], row["_reason"]["duplicate_of"]} & kinds.keys():
                    if found == row["_id"] or kinds[found] in COPIES:
                        self.found[kinds.pop(found)][name] += 1
        #: Kind -> planted rows that no step found.
        self.left = Counter(kinds.values())
        (file,) = (run / "exports").rglob("*.jsonl")
        self.exported = [json.loads(line) for line in file.read_text().splitlines()]
        self.rows.update(own(row, names) for row in self.exported)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="where the run is kept; by default it is removed")
    parser.add_argument("--alike", type=float, default=0.9)
    given = parser.parse_args()
    rows = planted(given.data)
    with tempfile.TemporaryDirectory() as name:
        folder = given.run or Path(name)
        run(given.data, rows, folder, given.alike)
        real = [row for name in DATA for row in read(given.data, name)]
        names = sorted({name for row in (*real, *rows) for name in row})
        found = Found(folder / "run", names)
    want = Counter(own(row, names) for row in (*real, *rows))
    lost = sum((want - found.rows).values()) + sum((found.rows - want).values())
    for kind, steps in found.found.items():
        print(f"{kind:<30} {dict(steps)}, left {found.left[kind]}")
    print(f"{len(real)} rows of the data sets, dropped: {dict(found.dropped)}; lost or changed: {lost}")
    figures = [
        Figure(f"planted: {kind}", "rows", steps.total(), PER_KIND, "planted", "", steps.total() / PER_KIND,
               "1.0")
        for kind, steps in found.found.items()
    ]  # fmt: skip
    more = {
        "alike": given.alike,
        "rows": {"real": len(real), "planted": len(rows), "exported": len(found.exported), "lost": lost},
        "dropped": found.dropped,
        "found": found.found,
    }
    write("clean_planted", figures, versions("sentence-transformers", "torch"), more)
    return int(bool(lost or found.left))


if __name__ == "__main__":
    sys.exit(main())
