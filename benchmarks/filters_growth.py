"""Exact and MinHash deduplication from 10,000 to 10 million rows: speed, peak memory, and one chart.

    python benchmarks/filters_growth.py [--rows 10000000] [--memory 1GB] [--minutes 24] [--no-peers]

Each size is one `gristmill run` of a Parquet source, `dedup: exact`, `dedup: minhash` and a Parquet export,
in a fresh process. The rows are synthetic texts (`growing_texts.py`). Seconds are those of each step, as the
run records them. Peak memory is the greatest sum of the resident memory of the process and its children, in
20 samples per second; it has to stay below the limit. The peers (polars; rensa, at the same threshold) read
the same file, in an environment of their own, and are stopped above 6,000 MB. The largest size runs once more
as in a fresh environment, where Numba compiles the loops in the run, which takes memory. What would not fit
into the minutes, judged by the size before, is left out, and said so. Writes `filters_growth.json` and
`filters_growth.svg` into `results`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from growing_texts import write_texts
from growth_chart import Series, chart
from measuring import RESULTS, Figure, peers_python, versions, write

from gristmill.pipelines.file.sizes import bytes_of

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
THRESHOLD = 0.7
PIPELINE = """
gristmill: 1
name: growth
steps:
  rows: {{source: parquet, path: '{source}'}}
  exact: {{dedup: exact, columns: [text], normalize: prose, from: rows}}
  minhash: {{dedup: minhash, columns: [text], threshold: {threshold}, from: exact}}
  out: {{export: parquet, from: minhash}}
"""
POLARS = """
import json, sys, time
import polars
rows = polars.read_parquet(sys.argv[1])
start = time.perf_counter()
kept = rows.unique("text", keep="first", maintain_order=True)
print(json.dumps({"seconds": time.perf_counter() - start, "rows": rows.height}))
"""
PEERS = {"exact": "polars", "minhash": "rensa"}
#: Ours, and ours in a fresh environment.
OURS, FRESH = "gristmill", "gristmill, fresh"
#: MB from which a process is stopped: a peer could take all the memory of the machine.
MOST = 6_000


@dataclass(frozen=True)
class Point:
    """What was measured of one step of one size. ``peak``: MB, of the whole process tree."""

    who: str
    step: str
    rows: int
    seconds: float
    peak: float

    @property
    def speed(self) -> float:
        return self.rows / self.seconds


def watched(command: Sequence[str], timeout: float, **environment: str) -> tuple[str, float, float]:
    """Run a command; its output, its wall seconds, and the peak memory of its process tree in MB.

    Raises RuntimeError if it fails, takes more than ``timeout`` seconds, or more memory than ``MOST``.
    """
    with tempfile.TemporaryFile("w+") as output:
        started, peak = time.monotonic(), 0.0
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, text=True, env=os.environ | environment
        )
        while process.poll() is None:
            peak = max(peak, tree_rss(process.pid))
            late = time.monotonic() - started > timeout
            if late or peak > MOST:
                process.kill()
                process.wait()
                raise RuntimeError(f"stopped after {timeout:.0f} s" if late else f"stopped above {MOST:,} MB")
            time.sleep(0.05)
        output.seek(0)
        said = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{said[-2000:]}")
    return said, time.monotonic() - started, peak


def tree_rss(pid: int) -> float:
    """The resident memory of a process and its descendants, in MB."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0.0
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total / 1e6


def ours(who: str, source: Path, rows: int, memory: str, folder: Path, timeout: float) -> list[Point]:
    file, run = folder / "growth.yaml", folder / who
    file.write_text(PIPELINE.format(source=source, threshold=THRESHOLD))
    gristmill = str(Path(sys.executable).with_name("gristmill"))
    command = [gristmill, "run", str(file), "--trust", "--run", str(run), "--memory", memory, "--quiet"]
    compiled = {"NUMBA_CACHE_DIR": str(folder / "compiled")} if who == FRESH else {}
    _, _, peak = watched(command, timeout, **compiled)
    points = []
    for step in ("exact", "minhash"):
        manifest = json.loads(next(run.glob(f"steps/{step}-*/manifest.json")).read_text())
        points.append(Point(who, step, manifest["ledger"]["rows_in"], manifest["seconds"], peak))
    return points


def peer(step: str, source: Path, rows: int, folder: Path, timeout: float) -> Point:
    name, here = PEERS[step], Path(__file__).parent
    kept = str(folder / "kept.npy")
    arguments = {
        "polars": ["-c", POLARS, str(source)],
        "rensa": [str(here / "filters_minhash_peers.py"), str(source), kept, str(THRESHOLD), "rensa"],
    }[name]
    said, _, peak = watched([str(peers_python()), *arguments], timeout)
    answer = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith("{")))
    return Point(name, step, rows, answer["seconds"], peak)


class Clock:
    """Time for everything. ``took``: the wall seconds of each kind of case, and its rows."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.took: dict[str, tuple[float, int]] = {}

    @property
    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())

    def fits(self, kind: str, rows: int) -> bool:
        """Would a case of so many rows end in time, if its time grows with its rows?"""
        seconds, before = self.took.get(kind, (0.0, rows))
        return 1.2 * seconds * rows / before < self.left


def measured(largest: int, memory: str, minutes: float, peers: bool) -> tuple[list[Point], list[str]]:
    """The points, and what was left out."""
    clock, points, missing = Clock(minutes), list[Point](), list[str]()
    for rows in (size for size in SIZES if size <= largest):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source = folder / "texts.parquet"
            write_texts(source, rows)
            kinds = [OURS, *(PEERS.values() if peers else ()), *([FRESH] if rows == largest else [])]
            for kind in kinds:
                started = time.monotonic()
                if not clock.fits(kind, rows):
                    missing.append(f"{kind} at {rows:,} rows: no time left")
                    continue
                try:
                    if kind in (OURS, FRESH):
                        found = ours(kind, source, rows, memory, folder, clock.left)
                    else:
                        step = next(step for step, name in PEERS.items() if name == kind)
                        found = [peer(step, source, rows, folder, clock.left)]
                except RuntimeError as error:
                    missing.append(f"{kind} at {rows:,} rows: {error}")
                    continue
                clock.took[kind] = (time.monotonic() - started, rows)
                points += found
                for point in found:
                    print(
                        f"{point.who:<16} {point.step:<8} {rows:>11,} rows  {point.seconds:8.2f} s  "
                        f"{point.speed:>11,.0f} rows/s  peak {point.peak:8,.0f} MB",
                        flush=True,
                    )
    return points, missing


def figures(points: Sequence[Point], memory: str) -> list[Figure]:
    """Speed beside the peer's at each size, and the peak memory beside the limit."""
    found = []
    of = {(point.who, point.step, size(point)): point for point in points}
    peers = versions_of_peers()
    for point in points:
        other = of.get((PEERS[point.step], point.step, size(point)))
        if point.who == OURS and other is not None:
            found.append(
                Figure(
                    f"{point.step}, {size(point):,} rows",
                    "rows/s",
                    point.speed,
                    other.speed,
                    other.who,
                    peers[other.who],
                    point.speed / other.speed,
                    "near-linear",
                )
            )
        if point.who in (OURS, FRESH) and point.step == "minhash":
            limit = megabytes(memory)
            found.append(
                Figure(
                    f"peak memory, {size(point):,} rows{point.who.removeprefix(OURS)}",
                    "MB",
                    point.peak,
                    limit,
                    "limit",
                    "",
                    limit / point.peak,
                    "at least 1",
                )
            )
    return found


def size(point: Point) -> int:
    """The number of rows of the file: those of a later step are fewer."""
    return min((each for each in SIZES if each >= point.rows), default=point.rows)


def megabytes(memory: str) -> float:
    return (bytes_of(memory) or 0) / 1e6


def versions_of_peers() -> dict[str, str]:
    lines = (Path(__file__).parent / "requirements.txt").read_text().splitlines()
    return {line.partition("==")[0]: line.partition("==")[2] for line in lines if "==" in line}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=SIZES[-1], help="the largest size")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--minutes", type=float, default=24)
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    if not arguments.no_peers:
        peers_python()  # or stop now
    points, missing = measured(
        arguments.rows, arguments.memory, arguments.minutes, peers=not arguments.no_peers
    )
    for each in missing:
        print(f"left out: {each}")
    names = dict.fromkeys((point.who, point.step) for point in points if point.who != FRESH)
    series = [
        Series(
            f"{who}, {step}", [(size(p), p.seconds, p.peak) for p in points if (p.who, p.step) == (who, step)]
        )
        for who, step in names
    ]
    if not series:
        return 1
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "filters_growth.svg").write_text(chart(series, megabytes(arguments.memory)))
    more = {"limit": arguments.memory, "points": [asdict(point) for point in points], "left out": missing}
    write("filters_growth", figures(points, arguments.memory), versions("pyarrow", "numpy"), more)
    over = [p for p in points if p.who in (OURS, FRESH) and p.peak > megabytes(arguments.memory)]
    for point in over:
        print(f"over the limit: {point.peak:,.0f} MB at {size(point):,} rows")
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main())
