"""The same rows everywhere: one job here, on Ray with two nodes, and with one of them killed on the way.

    python benchmarks/filters_same_rows.py [--rows 1000000] [--memory 1GB]

The job reads texts (`growing_texts.py`), drops exact and near duplicates, and exports Parquet. Its parts and
its export are compared byte for byte. The node is killed when the first parts of `exact` are there. The nodes
are processes of this machine, with two logical cores each. Prints the digest of the files of each run, writes
`results/filters_same_rows.json`, and fails if two differ.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from filters_growth import PIPELINE, THRESHOLD
from growing_texts import write_texts
from measuring import Figure, versions, write

BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {"RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"}
#: Seconds after which a job, or the start of a node, has failed.
TIMEOUT, STARTING = 1200, 120


class Nodes:
    """Ray nodes as processes of this machine."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.running: list[subprocess.Popen[bytes]] = []
        ray("get-auth-token", "--generate").wait()
        self.start("--head", f"--port={port}", "--include-dashboard=false")
        self.start(f"--address={self.address}")

    def start(self, *arguments: str) -> None:
        node = ray(
            "start",
            "--block",
            "--disable-usage-stats",
            "--num-cpus=2",
            "--node-ip-address=127.0.0.1",
            *arguments,
        )
        self.running.append(node)
        self._wait()

    def _wait(self) -> None:
        """Wait until all nodes answer."""
        probe = (
            f"import ray; ray.init('{self.address}', log_to_driver=False); "
            "print(sum(node['Alive'] for node in ray.nodes()))"
        )
        end = time.monotonic() + STARTING
        while time.monotonic() < end:
            command = [sys.executable, "-P", "-c", probe]
            done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
            if done.returncode == 0 and int(done.stdout.split()[-1]) >= len(self.running):
                return
        raise SystemExit(f"the Ray nodes do not answer at {self.address}")

    def kill(self, number: int) -> None:
        """Lose a node at once, with its workers."""
        node = self.running[number]
        processes = [psutil.Process(node.pid)] if node.poll() is None else []
        for process in [each for root in processes for each in (*root.children(recursive=True), root)]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        node.wait(30)


def ray(*arguments: str) -> subprocess.Popen[bytes]:
    command = [str(BIN / "ray"), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=ENVIRONMENT
    )


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    try:
        yield nodes
    finally:
        for number in reversed(range(len(nodes.running))):
            nodes.kill(number)


def start(folder: Path, name: str, memory: str, *more: str) -> subprocess.Popen[str]:
    command = [
        str(BIN / "gristmill"), "run", "same.yaml", "--trust", "--run", name, "--memory", memory, "--quiet",
        "--no-report", *more,
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def finish(process: subprocess.Popen[str], name: str, started: float) -> float:
    """Wait for a run; the seconds that it took."""
    _, said = process.communicate(timeout=TIMEOUT)
    if process.returncode:
        raise SystemExit(f"the run {name} failed:\n{said[-3000:]}")
    return time.monotonic() - started


@dataclass(frozen=True)
class Made:
    """What a run made. ``files``: the SHA-256 of every part and export."""

    name: str
    seconds: float
    files: dict[str, str]

    @classmethod
    def of(cls, name: str, seconds: float, run: Path) -> Made:
        """Read the files, and show their digest."""
        paths = sorted([*run.glob("steps/*/part-*.parquet"), *run.glob("exports/**/*.parquet")])
        files = {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        made = cls(name, seconds, files)
        print(f"{name:<18} {seconds:7.1f} s  {len(files)} files {made.digest}", flush=True)
        return made

    @property
    def digest(self) -> str:
        """Of all files together."""
        listed = "\n".join(f"{name} {digest}" for name, digest in self.files.items())
        return hashlib.sha256(listed.encode()).hexdigest()

    def same(self, other: Made) -> int:
        """How many files the other run has too, with the same bytes."""
        return len(self.files.items() & other.files.items())


def local(folder: Path, memory: str) -> Made:
    started = time.monotonic()
    return Made.of("local", finish(start(folder, "local", memory), "local", started), folder / "local")


def on_ray(folder: Path, memory: str, *, lost: bool) -> Made:
    """On two nodes, of which one is killed if it is to be lost."""
    name, run = "ray, one killed" if lost else "ray, two nodes", f"ray{int(lost)}"
    with two_nodes() as nodes:
        started = time.monotonic()
        process = start(folder, run, memory, "--ray-address", nodes.address)
        while lost and process.poll() is None and not list(folder.glob(f"{run}/steps/exact-*/part-*")):
            time.sleep(0.02)
        if lost and process.poll() is None:
            nodes.kill(1)
        elif lost:
            raise SystemExit("the run ended before a node was killed")
        return Made.of(name, finish(process, name, started), folder / run)


def figures(want: Made, found: Sequence[Made]) -> list[Figure]:
    whole = len(want.files)
    return [
        Figure(
            f"files as of the local run, {each.name}",
            "files",
            want.same(each),
            whole,
            want.name,
            "",
            want.same(each) / whole,
            "1.0",
        )
        for each in found
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--memory", default="1GB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "texts.parquet"
        write_texts(source, arguments.rows)
        (folder / "same.yaml").write_text(PIPELINE.format(source=source, threshold=THRESHOLD))
        want = local(folder, arguments.memory)
        found = [on_ray(folder, arguments.memory, lost=lost) for lost in (False, True)]
    same = all(each.files == want.files for each in found)
    runs = {each.name: {"seconds": each.seconds, "sha256": each.digest} for each in (want, *found)}
    more = {"rows": arguments.rows, "memory": arguments.memory, "identical": same, "runs": runs}
    write("filters_same_rows", figures(want, found), versions("pyarrow", "ray"), more)
    print("identical" if same else "DIFFERENT")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
