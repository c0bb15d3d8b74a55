"""Independent check of a data set of code edits: runs every row again and compares it with its claims.

    python -P benchmarks/reexecute.py DATA [--rows N] [--workers N] [--cpu-seconds S] [--packages]

DATA: a Parquet file, or a folder of them. It shares no code with the pipeline except the sandbox. Checks per
row:

- flip: ``tests`` fail on ``before`` and pass on ``after`` (each after ``prelude`` and a blank line, if the
  row has one); for ``kind`` "improvement" instead: they pass on both, and ``after`` executes fewer lines
  (cost);
- diff: ``diff`` leads from ``before`` to exactly ``after``, by the strict applier below and, if
  installed, by the system's ``patch`` without fuzz;
- score: each of ``mutant_diffs`` applied to ``after`` gives a program that the tests notice as recorded in
  ``mutant_caught``, within ``mutant_cpu_seconds`` of processor time, and ``mutation_score`` is the share that
  they notice. A score without its mutants counts as wrong; a row without a score is not counted.

The exit code is 1 if one of these is below 100 %, and 2 if there is nothing to check. Equal runs are made
once.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from gristmill.datagen.sandbox.jobs import RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Status

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
from measuring import Figure, versions, write

NEEDED = ("before", "after", "diff", "tests")
WANTED = (
    *NEEDED,
    "id",
    "kind",
    "prelude",
    "mutation_score",
    "mutant_diffs",
    "mutant_caught",
    "mutant_cpu_seconds",
)
CHECKS = ("flip", "cost", "diff", "patch", "score")
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class Run(Protocol):
    """Runs tests on a program: returns the status and, if requested, the number of executed lines.

    ``seconds``: limit of processor time; None for that of the command line.
    """

    def __call__(
        self, program: str, tests: str, count: bool = False, seconds: float | None = None, /
    ) -> tuple[Status, int | None]: ...


@dataclass(frozen=True)
class Confirmed:
    """For each check: None if it does not apply, else what is wrong ("" for nothing)."""

    row: str
    wrong: Mapping[str, str | None]
    before: Status


def patched(diff: str, text: str) -> str:
    """Apply a unified diff to ``text``. Raises ValueError if a line is not where the diff says."""
    old, body = text.split("\n"), diff.split("\n")
    made: list[str] = []
    at, position = 0, 2 if body[:2] == ["--- before", "+++ after"] else 0
    while position < len(body) - 1:
        head = _HUNK.fullmatch(body[position])
        if head is None:
            raise ValueError(f"not the start of a hunk: {body[position]!r}")
        left, right = (int(size or 1) for size in head.group(2, 4))
        begin = int(head[1]) - (left > 0)
        if not at <= begin <= len(old):
            raise ValueError(f"{head[0]} is out of place")
        made, at, position = [*made, *old[at:begin]], begin, position + 1
        ended: set[str] = set()  # which sides end without a line feed here
        while left or right or body[position].startswith("\\"):
            mark, line = body[position][:1], body[position][1:]
            if mark == "\\":
                ended |= {" ": {"-", "+"}}.get(body[position - 1][:1], {body[position - 1][:1]})
            elif mark not in ("", " ", "-", "+"):
                raise ValueError(f"not a line of a hunk: {body[position]!r}")
            if mark in (" ", "-"):
                if at >= len(old) or old[at] != line:
                    raise ValueError(f"line {at + 1} is not {line!r}")
                at, left = at + 1, left - 1
            if mark in (" ", "+"):
                made.append(line)
                right -= 1
            if mark == "" or left < 0 or right < 0:
                raise ValueError("a hunk is not as long as it says")
            position += 1
        if ("-" in ended) != (at == len(old)):
            raise ValueError("the last line ends otherwise than the diff says")
        if ended == {"-"}:
            made.append("")
        elif ended == {"+"}:
            if old[at:] != [""]:
                raise ValueError("what has no line feed is not at the end")
            at += 1
    return "\n".join([*made, *old[at:]])


def system_patched(diff: str, text: str) -> str:
    """Apply it with the system's ``patch``. Raises ValueError with its output if it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "text"), Path(folder, "made")
        source.write_bytes(text.encode())
        command = ["patch", "--fuzz=0", "--binary", "--force", "-o", str(made), str(source)]
        done = subprocess.run(command, input=diff.encode(), capture_output=True, check=False, timeout=60)
        if done.returncode or b"offset" in done.stdout:
            raise ValueError((done.stdout + done.stderr).decode("utf-8", "replace").strip()[-200:])
        return made.read_bytes().decode()


def confirm(row: Mapping[str, Any], run: Run, apply: Mapping[str, Callable[[str, str], str]]) -> Confirmed:
    """Check all claims of one row. ``apply``: the appliers of diffs, by the name of their check."""
    head = f"{row['prelude']}\n\n" if row.get("prelude") is not None else ""
    counted = row.get("kind") == "improvement"
    (before, old), (after, new) = (
        run(head + row[side], row["tests"], counted) for side in ("before", "after")
    )
    wrong: dict[str, str | None] = dict.fromkeys(CHECKS)
    told = f"before: {before.value}, after: {after.value}"
    if counted:
        cheaper = before is after is Status.PASSED and old is not None and new is not None and new < old
        wrong["cost"] = "" if cheaper else f"{told}; {old} lines executed before, {new} after"
    else:
        flips = after is Status.PASSED and before not in (Status.PASSED, Status.REFUSED)
        wrong["flip"] = "" if flips else told
    for name, applier in apply.items():
        wrong[name] = _differs(applier, row["diff"], row["before"], row["after"])
    if row.get("mutation_score") is not None:
        wrong["score"] = _score(row, head, run)
    return Confirmed(str(row.get("id", "?")), wrong, before)


def _differs(applier: Callable[[str, str], str], diff: str, before: str, after: str) -> str:
    try:
        return "" if applier(diff, before) == after else "it leads to another text"
    except ValueError as error:
        return str(error)


def _score(row: Mapping[str, Any], head: str, run: Run) -> str:
    diffs, caught = row.get("mutant_diffs"), row.get("mutant_caught")
    if not diffs or not caught or len(diffs) != len(caught):
        return "the row does not carry the mutants of its score"
    found = []
    for number, (diff, claimed) in enumerate(zip(diffs, caught, strict=True)):
        try:
            mutant = patched(diff, row["after"])
        except ValueError as error:
            return f"mutant {number}: {error}"
        if mutant == row["after"]:
            return f"mutant {number} is the program itself"
        status, _ = run(head + mutant, row["tests"], False, row.get("mutant_cpu_seconds"))
        found.append(status is not Status.PASSED)
        if found[-1] != claimed:
            return f"mutant {number} is {'' if found[-1] else 'not '}noticed"
    score = sum(found) / len(found)
    return (
        "" if abs(score - row["mutation_score"]) < 1e-9 else f"{score:.4f}, not {row['mutation_score']:.4f}"
    )


def remembering(run: Run) -> Run:
    """Cache runs by program and tests: edits of one function share most of them."""
    known: dict[bytes, tuple[Status, int | None]] = {}

    def once(
        program: str, tests: str, count: bool = False, seconds: float | None = None, /
    ) -> tuple[Status, int | None]:
        text = f"{count}\0{seconds}\0{len(program)}\0{program}\0{tests}"
        key = blake2b(text.encode(), digest_size=16).digest()
        if key not in known:
            known[key] = run(program, tests, count, seconds)
        return known[key]

    return once


def rows_of(path: Path, most: int | None) -> list[dict[str, Any]]:
    """Read a Parquet file or folder; draw ``most`` rows evenly. Raises SystemExit if there are none."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    try:
        found = ds.dataset(path, format="parquet")
        missing = [name for name in NEEDED if name not in found.schema.names]
        if missing:
            raise SystemExit(f"{path}: no column {', '.join(missing)}; these are not code edits")
        table = found.to_table(columns=[name for name in WANTED if name in found.schema.names])
    except (OSError, pa.ArrowException) as error:
        raise SystemExit(f"{path} cannot be read as Parquet: {error}") from None
    if most is not None and most < table.num_rows:
        table = table.take(sorted(random.Random(0).sample(range(table.num_rows), most)))
    return list(table.to_pylist())


def gathered(confirmed: Iterable[Confirmed], total: int) -> list[Confirmed]:
    """Collect the results; print errors as they occur, and progress every five seconds."""
    done: list[Confirmed] = []
    told = time.monotonic()
    for one in confirmed:
        done.append(one)
        for check, wrong in one.wrong.items():
            if wrong:
                print(f"row {one.row}: {check}: {wrong}", file=sys.stderr)
        if time.monotonic() - told > 5:
            told = time.monotonic()
            print(f"{len(done)} of {total} rows", file=sys.stderr)
    return done


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, help="number of rows to draw evenly")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--cpu-seconds", type=float, default=2.0, help="processor time per run, as in the pipeline"
    )
    parser.add_argument("--packages", action="store_true", help="allow code to import installed packages")
    args = parser.parse_args(arguments)
    rows = rows_of(args.data, args.rows)
    if not rows:
        print(f"{args.data}: no rows", file=sys.stderr)
        return 2
    apply: dict[str, Callable[[str, str], str]] = {"diff": patched}
    if shutil.which("patch"):
        apply["patch"] = system_patched
    started = time.monotonic()
    limits = Limits(cpu_seconds=args.cpu_seconds)
    with (
        Sandbox(limits, workers=args.workers, packages=args.packages) as box,
        ThreadPoolExecutor(args.workers) as threads,
    ):

        def run(
            program: str, tests: str, count: bool = False, seconds: float | None = None, /
        ) -> tuple[Status, int | None]:
            given = limits if seconds is None else replace(limits, cpu_seconds=seconds)
            result = box.run_now(RunTests(program, tests, count_lines=count), given)
            return result.status, result.lines

        once = remembering(run)
        futures = [threads.submit(confirm, row, once, apply) for row in rows]
        done = gathered((future.result() for future in as_completed(futures)), len(rows))
        more = {"isolation": str(box.isolation), "seconds": round(time.monotonic() - started, 1)}
    return written(done, {**more, "sampled": len(rows) if args.rows else None})


def written(done: list[Confirmed], more: dict[str, Any]) -> int:
    """Print and write the shares of confirmed rows; return the exit code."""
    names = {
        "flip": "tests fail before, pass after",
        "cost": "improvements pass both times, with fewer lines",
        "diff": "diffs apply",
        "patch": "diffs apply, by the system's patch",
        "score": "mutation scores as recorded",
    }
    counted = {check: sum(one.wrong[check] is not None for one in done) for check in CHECKS}
    wrong = {check: sorted(one.row for one in done if one.wrong[check]) for check in CHECKS}
    figures = []
    for check, count in counted.items():
        if count:
            share = 100 * (count - len(wrong[check])) / count
            figures.append(Figure(names[check], "%", share, 100.0, "recorded", "", share / 100, "100"))
    print(f"{len(done)} rows; of these counted: {counted}")
    statuses = Counter(one.before.value for one in done)
    told = {"rows": len(done), "counted": counted, "wrong": wrong, "before": dict(statuses)}
    write("reexecute", figures, versions("pyarrow"), {**told, **more})
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
