"""The same rows everywhere: one job here, on Ray with two nodes, and with one of them killed on the way.

    python benchmarks/filters_same_rows.py [--rows 1000000] [--memory 1GB]

The job reads texts (`growing_texts.py`), drops exact and near duplicates, and exports Parquet. Its parts and
its export are compared byte for byte. The node is killed when the first parts of `exact` are there. The nodes
are processes of this machine, with two logical cores each. Prints the digest of the files of each run, and
fails if two differ.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filters_growth import PIPELINE, THRESHOLD
from growing_texts import write_texts

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


def finish(process: subprocess.Popen[str], name: str, started: float) -> None:
    _, said = process.communicate(timeout=TIMEOUT)
    if process.returncode:
        raise SystemExit(f"the run {name} failed:\n{said[-3000:]}")
    print(f"{name:<18} {time.monotonic() - started:7.1f} s", end="  ", flush=True)


def digests(run: Path) -> dict[str, str]:
    """The SHA-256 of every part and export of a run."""
    files = [*run.glob("steps/*/part-*.parquet"), *run.glob("exports/**/*.parquet")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
    }


def shown(run: Path) -> dict[str, str]:
    """The digests, with those of all files together and of the export printed."""
    found = digests(run)
    whole = hashlib.sha256(
        "\n".join(f"{name} {digest}" for name, digest in found.items()).encode()
    ).hexdigest()
    export = next(digest for name, digest in found.items() if name.startswith("exports"))
    print(f"{len(found)} files {whole[:32]}  data.parquet {export[:32]}", flush=True)
    return found


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
        started = time.monotonic()
        finish(start(folder, "local", arguments.memory), "local", started)
        want, found = shown(folder / "local"), list[dict[str, str]]()
        for case, lost in (("ray, two nodes", False), ("ray, one killed", True)):
            with two_nodes() as nodes:
                started, run = time.monotonic(), f"ray{int(lost)}"
                process = start(folder, run, arguments.memory, "--ray-address", nodes.address)
                while (
                    lost and process.poll() is None and not list(folder.glob(f"{run}/steps/exact-*/part-*"))
                ):
                    time.sleep(0.02)
                if lost:
                    if process.poll() is not None:
                        print("the run ended before a node was killed")
                        return 1
                    nodes.kill(1)
                finish(process, case, started)
                found.append(shown(folder / run))
    same = all(each == want for each in found)
    print("identical" if same else "DIFFERENT")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
