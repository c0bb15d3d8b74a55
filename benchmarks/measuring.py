"""Shared parts of benchmarks: one fresh process per case, wall time, peak memory, and the result file."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One comparison. ``ratio``: ours over the peer's if more is better, else the peer's over ours."""

    what: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    peer_version: str
    ratio: float
    aim: str


@dataclass(frozen=True)
class Case:
    """The last line that a process printed (JSON), with its wall seconds and peak memory."""

    answer: dict[str, Any]
    seconds: float
    peak_mib: float


def run_case(command: Sequence[str], timeout: float = 600, *, memory: bool = True) -> Case:
    """Run a case in a fresh process. Peak memory is the PSS of its process tree, sampled at 4 Hz.

    Samples take time of the machine; without ``memory`` none are taken. Raises RuntimeError with the end of
    its output if the process fails, or exceeds ``timeout`` seconds.
    """
    # Not a pipe: a daemon left behind by the case would keep it open.
    with tempfile.TemporaryFile("w+") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True)
        peak = 0.0
        while process.poll() is None and time.monotonic() - started < timeout:
            peak = max(peak, tree_mib(process.pid) if memory else 0.0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.25)
        seconds = time.monotonic() - started
        if process.poll() is None:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed after {seconds:.0f} s:\n{said[-3000:]}")
    answer = next(line for line in reversed(said.splitlines()) if line.startswith("{"))
    return Case(json.loads(answer), seconds, peak)


def tree_mib(pid: int) -> float:
    """Return the memory of a process and its descendants in MiB, counting shared pages once."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
    except psutil.Error:
        return 0.0
    return total / 2**20


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine() -> dict[str, Any]:
    """Describe the machine of the measurements."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }


def versions(*names: str) -> dict[str, str]:
    found = {}
    for name in ("gristmill", *names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write(name: str, figures: Sequence[Figure], packages: dict[str, str], more: dict[str, Any]) -> Path:
    """Print the figures as a table and write ``results/NAME.json``."""
    for figure in figures:
        print(
            f"{figure.what:<44} ours {_shown(figure.ours):>12}  {figure.peer_name} {figure.peer_version} "
            f"{_shown(figure.peer):>12} {figure.unit:<10} ratio {_shown(figure.ratio, 2)}  (aim {figure.aim})"
        )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": packages,
        "figures": [asdict(figure) for figure in figures],
        **more,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return path


def _shown(value: float, digits: int = 1) -> str:
    return f"{value:.0e}" if 0 < abs(value) < 0.01 else f"{value:,.{digits}f}"


def peers_python() -> Path:
    """Return the interpreter of the peers' environment. Raises SystemExit with instructions if it is
    missing."""
    python = Path(__file__).parent / ".peers/bin/python"
    if not python.exists():
        raise SystemExit("the peers' environment is missing; make it with: make benchmarks/.peers/.installed")
    return python


def this_python(*arguments: str) -> list[str]:
    """Return a command for this interpreter that does not import from the repository root."""
    return [sys.executable, "-P", *arguments]
