"""Small tests per second, and latency: the warm sandbox against one process per test.

    python -P benchmarks/sandbox.py [--quick]

Each side runs the same programs and assertions, with one concurrent run per core. Peers: a bare Python
process (without isolation), and a Python process per bubblewrap call if `bwrap` is on PATH. The sides
alternate, and medians over rounds are reported; latency is measured on sequential single runs. `load_before`
in the results is the load of the machine: on a busy machine only the ratios are meaningful.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from gristmill.datagen.sandbox.jobs import RunTests
from gristmill.datagen.sandbox.pool import Sandbox

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
from measuring import Figure, median, versions, write

AIM = 150
PROGRAM = """
def primes(limit):
    sieve = [True] * (limit + 1)
    for n in range(2, int(limit ** 0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = [False] * len(sieve[n * n :: n])
    return [n for n in range(2, limit + 1) if sieve[n]]
"""
TESTS = "assert primes(10) == [2, 3, 5, 7]\nassert len(primes(1000)) == {count}\n"
PYTHON = os.path.realpath(sys.executable)
ROUND = 300
BWRAP = [
    "bwrap", "--ro-bind", "/usr", "/usr", "--ro-bind", os.path.realpath(sys.base_prefix),
    os.path.realpath(sys.base_prefix), "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
    "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
    "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--chdir", "/tmp",
]  # fmt: skip

#: Runs one test: whether it passed.
Once = Callable[[str], bool]


def tests(number: int) -> str:
    """Every third test fails, so that a side that runs nothing is detected."""
    return TESTS.format(count=168 if number % 3 else 1)


def bare(code: str) -> bool:
    return _process([PYTHON, "-I", "-S", "-c", f"{PROGRAM}\n{code}"])


def bubblewrap(code: str) -> bool:
    return _process([*BWRAP, PYTHON, "-I", "-S", "-c", f"{PROGRAM}\n{code}"])


def _process(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def rate(once: Once, count: int, at_a_time: int) -> float:
    """Runs a second."""
    with ThreadPoolExecutor(at_a_time) as threads:
        started = time.perf_counter()
        passed = list(threads.map(lambda n: once(tests(n)), range(count)))
        seconds = time.perf_counter() - started
    if passed != [bool(n % 3) for n in range(count)]:
        raise RuntimeError("a run gave the wrong verdict")
    return count / seconds


def latencies(once: Once, count: int) -> list[float]:
    """Return the milliseconds of ``count`` sequential runs, sorted."""
    found = []
    for number in range(count):
        started = time.perf_counter()
        once(tests(number))
        found.append(1000 * (time.perf_counter() - started))
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rounds, count = (1, 60) if quick else (5, ROUND)
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    with Sandbox(workers=cores) as box:
        sides: dict[str, Once] = {
            "ours": lambda code: box.run_now(RunTests(PROGRAM, code)).passed,
            "subprocess": bare,
        }
        if shutil.which("bwrap"):
            sides["bwrap"] = bubblewrap
        rates: dict[str, list[float]] = {name: [] for name in sides}
        waits: dict[str, list[list[float]]] = {name: [] for name in sides}
        for once in sides.values():
            rate(once, 2 * cores, cores)
        for _ in range(rounds):
            for name, once in sides.items():
                rates[name].append(rate(once, count, cores))
                waits[name].append(latencies(once, count // 3))
        isolation = str(box.isolation)
    known = {"subprocess": sys.version.split()[0]}
    if "bwrap" in sides:
        known["bwrap"] = subprocess.check_output(["bwrap", "--version"], text=True).split()[-1]
    figures: list[Figure] = []
    for peer, found in known.items():
        ours, theirs = median(rates["ours"]), median(rates[peer])
        figures.append(
            Figure("small tests", "runs/s", ours, theirs, peer, found, ours / theirs, f"ours >= {AIM}")
        )
        for label, share in (("p50", 0.5), ("p95", 0.95)):
            ours, theirs = (
                median([wait[int(share * len(wait))] for wait in waits[name]]) for name in ("ours", peer)
            )
            figures.append(
                Figure(
                    f"latency, {label}", "ms", ours, theirs, peer, found, theirs / ours, "below the peer's"
                )
            )
    more = {"isolation": isolation, "at_a_time": cores, "load_before": load, "rates": rates, "quick": quick}
    write("sandbox", figures, versions(), more)


if __name__ == "__main__":
    main()
