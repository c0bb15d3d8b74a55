"""Everything that needs a GPU, in at most 12 minutes: the kernels, then whole training steps.

    python benchmarks/gpu.py

Runs ``kernels_gpu.py`` and ``train_gpu.py`` one after the other, each in a process of its own, so that a
failure of one does not cost the other. Each writes its own result. ``train_gpu.py`` starts no case that would
not end in time. Without a CUDA GPU nothing is measured; the exit status is 2.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

#: Minutes for both, and for the kernels alone.
MINUTES, KERNELS = 12.0, 4.0


def plan(minutes: float = MINUTES) -> list[tuple[list[str], float]]:
    """Return the command of each benchmark, and the minutes that it may take."""
    here = Path(__file__).parent
    left = minutes - KERNELS
    return [
        ([sys.executable, str(here / "kernels_gpu.py")], KERNELS),
        # It measures once, and stops starting cases a minute before its time is over.
        ([sys.executable, str(here / "train_gpu.py"), "--minutes", f"{left - 1:g}"], left),
    ]


def main() -> int:
    worst = 0
    for command, minutes in plan():
        started = time.monotonic()
        try:
            status = subprocess.run(command, timeout=60 * minutes).returncode
        except subprocess.TimeoutExpired:
            print(f"{Path(command[1]).stem}: stopped after {minutes:g} minutes")
            status = 1
        print(f"{Path(command[1]).stem}: {time.monotonic() - started:.0f} s, exit status {status}")
        worst = max(worst, status)
    return worst


if __name__ == "__main__":
    sys.exit(main())
