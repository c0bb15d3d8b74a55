"""Damaged files of rows: each is read, or refused in one clear line; nothing else may happen.

    python -P benchmarks/mutated_files.py [--files 5000] [--quick] [--seed N] [--workers N] [--keep FOLDER]

Small files of every format that a source reads (Parquet, Arrow files and streams, folders of Dataset.save_to_disk,
JSON Lines plain and packed), with columns of every type of Arrow's, are damaged: flipped bits, cuts, spliced blocks,
other lengths. Each goes through ``gristmill run`` (read, commit, two exports) in a fork of one warm process, and is

- read: exit code 0 (damage that no checksum covers cannot be told from data);
- refused: exit code 1, and one line of error that names the file;
- unclear: any other line or exit code, "internal error" among them;
- signal: the process was killed by one;
- hang: not done in a minute.

Exit code 1 where one of the last three happened. Those files stay in ``--keep``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gristmill.pipelines.cli.main import main as gristmill

sys.path.append(str(Path(__file__).parent))
from measuring import machine, versions
from mutated_files_damage import DAMAGES
from mutated_files_seeds import Seed, seeds

LIMIT_S = 60.0
MEMORY = 8 << 30
FATES = ("read", "refused", "unclear", "signal", "hang")
RESULT = Path(__file__).parent / "results" / "mutated_files.json"
PIPELINE = """\
gristmill: 1
name: mutated
steps:
  rows: {{source: {source}, path: {path}}}
  parquet: {{export: parquet, from: rows}}
  {jsonl}
"""
JSONL = "jsonl: {export: jsonl, from: rows}"


@dataclass(frozen=True)
class Outcome:
    """``said``: what the command wrote to standard error."""

    fate: str
    code: int
    said: str
    seconds: float


@dataclass
class Running:
    case: str
    folder: Path
    started: float


def outcome(code: int | None, said: str, name: str, seconds: float) -> Outcome:
    """What became of a command: its exit code, negative for a signal, None where it had to be ended."""
    lines = [line for line in said.splitlines() if line.strip()]
    if code is None:
        fate = "hang"
    elif code < 0:
        fate = "signal"
    elif code == 0:
        fate = "read"
    else:
        fate = "refused" if code == 1 and len(lines) == 1 and name in said else "unclear"
    return Outcome(fate, 0 if code is None else code, said, seconds)


def read_in_fork(folder: Path, spec: Path) -> int:
    """Start ``gristmill run SPEC`` in a fork, with what it prints in ``folder/said``. Returns its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for stream, name in ((1, "out"), (2, "said")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        os.chdir(folder)
        code = gristmill(["run", str(spec), "--run", "run", "--quiet", "--no-report"])
        (folder / "modules").write_text("\n".join(sys.modules))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 98
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Campaign:
    """Reads files, ``workers`` at once, and counts what became of them."""

    def __init__(self, folder: Path, workers: int, keep: Path | None, tells: bool = True) -> None:
        self.folder = folder
        self.workers = workers
        self.keep = keep
        self.tells = tells
        self.outcomes: dict[str, Outcome] = {}
        self._running: dict[int, tuple[int, Running]] = {}
        self._selector = selectors.DefaultSelector()

    def start(self, case: str, seed: Seed, spec: str) -> None:
        """Read a file that lies in ``folder/CASE``; waits where as many are being read as may be."""
        while len(self._running) >= self.workers:
            self._wait()
        folder = self.folder / case
        (folder / "t.yaml").write_text(spec)
        pid = read_in_fork(folder, folder / "t.yaml")
        descriptor = os.pidfd_open(pid)
        self._selector.register(descriptor, selectors.EVENT_READ, pid)
        self._running[pid] = (descriptor, Running(case, folder, time.monotonic()))

    def finish(self) -> None:
        while self._running:
            self._wait()

    def _wait(self) -> None:
        done = [key.data for key, _ in self._selector.select(1.0)]
        late = [pid for pid, (_, each) in self._running.items() if time.monotonic() - each.started > LIMIT_S]
        for pid in {*done, *late}:
            self._end(pid, ended=pid in done)

    def _end(self, pid: int, ended: bool) -> None:
        descriptor, running = self._running.pop(pid)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        if not ended:
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        said = (running.folder / "said").read_text(errors="replace")
        found = outcome(
            os.waitstatus_to_exitcode(status) if ended else None,
            said, (running.folder / "name").read_text(), time.monotonic() - running.started,
        )  # fmt: skip
        self.outcomes[running.case] = found
        if found.fate in ("unclear", "signal", "hang") and self.tells:
            print(f"{running.case}: {found.fate} (exit code {found.code}): {said.strip()[:300]}", flush=True)
            if self.keep is not None:
                shutil.copytree(running.folder, self.keep / running.case, dirs_exist_ok=True)
        shutil.rmtree(running.folder)


def spec_of(seed: Seed, path: Path, as_lines: bool) -> str:
    """The pipeline that reads a file of the seed's kind."""
    return PIPELINE.format(source=seed.source, path=json.dumps(str(path)), jsonl=JSONL if as_lines else "")


def place(seed: Seed, folder: Path) -> Path:
    """Copy the seed into a folder of its own; where the copy lies."""
    folder.mkdir(parents=True)
    target = folder / seed.path.name
    (shutil.copytree if seed.path.is_dir() else shutil.copyfile)(seed.path, target)
    (folder / "name").write_text(seed.path.name)
    return target


def warm(found: list[Seed], folder: Path) -> None:
    """Import what reading a file of each source imports, so that no fork has to; importing starts no thread."""
    for number, seed in enumerate({seed.source: seed for seed in found}.values()):
        target = place(seed, folder / str(number))
        (target.parent / "t.yaml").write_text(spec_of(seed, target, as_lines=True))
        os.waitpid(read_in_fork(target.parent, target.parent / "t.yaml"), 0)
        for name in (target.parent / "modules").read_text().splitlines():
            if name.split(".")[0] in (
                "gristmill",
                "pyarrow",
                "datasets",
                "pandas",
                "rich",
                "pydantic",
                "fsspec",
                "yaml",
            ):
                importlib.import_module(name)


def damaged(count: int, found: list[Seed], draw: random.Random) -> Iterator[tuple[str, Seed, Path, bytes]]:
    """``count`` cases: their names, the seed, the file in it that is damaged, and its new bytes. Each kind gets as many."""
    kinds = sorted({seed.kind for seed in found})
    damages = list(DAMAGES)
    for number in range(count):
        kind, damage = kinds[number % len(kinds)], damages[number // len(kinds) % len(damages)]
        alike = [seed for seed in found if seed.kind == kind]
        seed = draw.choice(alike)
        file = draw.choice(seed.files)
        other = draw.choice(draw.choice(alike).files)
        data = DAMAGES[damage](file.read_bytes(), other.read_bytes(), draw)
        yield (
            f"{number:06d}-{damage.replace(' ', '-')}-{kind.replace(' ', '-')}-{seed.name}",
            seed,
            file,
            data,
        )


def campaign(count: int, number: int, workers: int, keep: Path | None) -> dict[str, Counter[str]]:
    """Read ``count`` damaged files. Returns kind -> fate -> files.

    Raises RuntimeError where an undamaged seed is not read.
    """
    with tempfile.TemporaryDirectory(prefix="mutated-") as scratch:
        (Path(scratch) / "seeds").mkdir()
        found = seeds(Path(scratch) / "seeds")
        warm(found, Path(scratch) / "warm")
        whole = Campaign(Path(scratch) / "whole", workers, None, tells=False)
        for index, seed in enumerate(found):
            for as_lines in (False, True):
                target = place(seed, whole.folder / f"{index}-{as_lines}")
                whole.start(f"{index}-{as_lines}", seed, spec_of(seed, target, as_lines))
        whole.finish()
        run = Campaign(Path(scratch) / "damaged", workers, keep)
        kinds: dict[str, str] = {}
        for case, seed, file, data in damaged(count, found, random.Random(number)):
            target = place(seed, run.folder / case)
            (target if target.is_file() else target / file.name).write_bytes(data)
            as_lines = whole.outcomes[f"{found.index(seed)}-True"].fate == "read"
            run.start(case, seed, spec_of(seed, target, as_lines))
            kinds[case] = seed.kind
        run.finish()
    table: dict[str, Counter[str]] = {}
    for case, result in {**run.outcomes}.items():
        table.setdefault(kinds[case], Counter())[result.fate] += 1
    table["undamaged"] = Counter(result.fate for result in whole.outcomes.values())
    return table


def show(table: dict[str, Counter[str]]) -> None:
    print(f"{'format':<16}" + "".join(f"{fate:>9}" for fate in FATES))
    for kind, counts in table.items():
        print(f"{kind:<16}" + "".join(f"{counts[fate]:>9,}" for fate in FATES))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--quick", action="store_true", help="300 files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", type=Path, help="where files that did harm stay")
    given = parser.parse_args()
    started = time.monotonic()
    count = 300 if given.quick else given.files
    table = campaign(count, given.seed, given.workers, given.keep)
    show(table)
    harm = sum(counts[fate] for counts in table.values() for fate in ("unclear", "signal", "hang"))
    print(f"{count:,} damaged files in {time.monotonic() - started:.0f} s: harm in {harm}")
    if not given.quick:
        RESULT.write_text(
            json.dumps(
                {
                    "machine": machine(),
                    "date": time.strftime("%Y-%m-%d"),
                    "versions": versions("pyarrow", "datasets"),
                    "files": count,
                    "seed": given.seed,
                    "fates": {kind: {fate: counts[fate] for fate in FATES} for kind, counts in table.items()},
                },
                indent=1,
            )
            + "\n"
        )
    return 1 if harm else 0


if __name__ == "__main__":
    sys.exit(main())
