"""How long `gristmill plan` says that embedding takes, and how long it takes; a stopped step goes on.

    python benchmarks/plan_embedding.py TEXTS.jsonl [--columns prompt response] [--rows 4535]

`dedup: semantic` with the packaged MiniLM. The plan is asked before anything was measured (`fresh`). The run
is then stopped by Ctrl-C when at least 60 % of the texts have a vector, the plan is asked again (`stopped`),
and the run goes on. Prints what the plan predicts beside the seconds that the runs took, from start to end;
those of the fresh prediction are the sum of both. Writes `results/plan_embedding.json`, and fails if a
prediction is not within 2x, or if a text with a vector was embedded again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measuring import Figure, versions, write

STOP_AT = 0.6
FILE = """gristmill: 1
name: planned
steps:
  rows: {{source: jsonl, path: "{texts}", rows: {rows}}}
  unique: {{dedup: semantic, columns: [{columns}], from: rows}}
"""


@dataclass(frozen=True)
class Predicted:
    """What the plan says. ``texts``: to embed; ``seconds``: of the whole run."""

    texts: int
    seconds: float


def predicted(file: Path, run: Path | None) -> Predicted:
    from gristmill.pipelines.file.load import load
    from gristmill.pipelines.plan.estimate import estimate
    from gristmill.pipelines.plan.make import make_plan
    from gristmill.pipelines.store.run_directory import RunDirectory

    costs = estimate(make_plan(load(str(file)), file=str(file)), RunDirectory.open(run) if run else None)
    embeddings = [cost.embedding for cost in costs if cost.embedding is not None]
    return Predicted(sum(each.texts for each in embeddings), sum(cost.seconds for cost in costs))


def vectors(run: Path) -> int:
    """How many texts have a vector."""
    from gristmill.pipelines.store.vectors import FOLDER, made

    return sum(made(model)[0] for model in (run / FOLDER).glob("*"))


def start(file: Path, run: Path) -> subprocess.Popen[bytes]:
    program = str(Path(sys.executable).with_name("gristmill"))
    command = [program, "run", str(file), "--trust", "--run", str(run), "--quiet", "--no-report"]
    return subprocess.Popen(command)


def stopped(file: Path, run: Path, texts: int) -> float:
    """Run until so many texts have a vector, then stop; the seconds that it took."""
    started = time.monotonic()
    process = start(file, run)
    while process.poll() is None and vectors(run) < texts:
        time.sleep(0.1)
    seconds = time.monotonic() - started
    if process.poll() is not None:
        raise SystemExit("the run ended before it was stopped: give more rows")
    process.send_signal(signal.SIGINT)
    process.wait(120)
    return seconds


def finished(file: Path, run: Path) -> float:
    started = time.monotonic()
    if start(file, run).wait():
        raise SystemExit("the run failed")
    return time.monotonic() - started


def embedded(run: Path) -> tuple[int, int]:
    """(texts that the step embedded when it went on, texts that had a vector)."""
    from gristmill.pipelines.report.gather import gather
    from gristmill.pipelines.store.run_directory import RunDirectory

    (summary,) = (
        step.summary for step in gather(RunDirectory.open(run)).rounds[-1].steps if step.name == "unique"
    )
    return int(summary["texts_embedded"]), int(summary["texts_reused"])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path, help="a JSON Lines file")
    parser.add_argument("--columns", nargs="+", default=["prompt", "response"])
    parser.add_argument("--rows", type=int, default=4535)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file, run = Path(name) / "planned.yaml", Path(name) / "run"
        file.write_text(
            FILE.format(texts=given.texts.resolve(), rows=given.rows, columns=", ".join(given.columns))
        )
        fresh = predicted(file, None)
        before = stopped(file, run, int(STOP_AT * fresh.texts))
        known = vectors(run)
        rest = predicted(file, run)
        after = finished(file, run)
        made, reused = embedded(run)
        again = known - reused
    seconds = {"fresh": (fresh.seconds, before + after), "stopped": (rest.seconds, after)}
    figures = [
        Figure(f"seconds predicted, {name}", "s", said, took, "taken", "", took / said, "0.5 to 2")
        for name, (said, took) in seconds.items()
    ]
    more = {
        "rows": given.rows,
        "texts": {"before_the_stop": known, "after_it": made, "reused": reused, "embedded_again": again},
        "load": os.getloadavg(),
    }
    write("plan_embedding", figures, versions("sentence-transformers", "torch"), more)
    print(f"embedded before the stop {known}, after it {made}, again {again}")
    return int(again > 0 or not all(0.5 <= figure.ratio <= 2 for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
