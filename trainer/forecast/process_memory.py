"""The memory of this process: kept predictable, and measured."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

import torch

from .memory_plan import MIB

#: Blocks of at least this many bytes are returned to the system when they are freed. With 1 MiB, a small
#: model took 11 to 15 % less memory and SmolLM2-135M 1 % less, but its steps were slower (page faults). With
#: 4 MiB, steps took about as long as without a threshold (single runs on two cores).
MAPPED = 4 * MIB
_M_MMAP_THRESHOLD = -3
#: Capacities of the caches of bfloat16 matrix products, by shape: that of oneDNN, and that of its interface
#: in PyTorch. A training on rows of many lengths fills both, with their default of 1,024.
CAPACITIES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
DEFAULT = 1024
#: Least capacity that is set.
LEAST = 128


def steady_allocator() -> None:
    """Make glibc return large blocks to the system when they are freed, for the rest of the process.

    With another C library, this does nothing. By default, glibc raises this threshold to the size of the
    largest block freed so far, up to 32 MiB. The memory of a training would then depend on what the process
    computed before.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED)


def return_freed() -> None:
    """Give memory that has been freed back to the system, with glibc; with another C library, do nothing.

    Decompositions of small weights free blocks that lie between tensors that are kept, and which glibc holds:
    up to 225 MiB in single runs of DoTA over SmolLM2-135M.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def bound_products(wanted: int) -> int:
    """Bound the caches of matrix products to ``wanted`` shapes; return the bound that holds.

    The capacities are read at the first product in bfloat16, so the first call in a process decides, or the
    user's own variables. To prepare a product again takes about 0.6 ms.
    """
    for name in CAPACITIES:
        os.environ.setdefault(name, str(max(LEAST, wanted)))
    found = [os.environ[name] for name in CAPACITIES]
    return max(int(capacity) if capacity.isdecimal() else DEFAULT for capacity in found)


class PeakMemory:
    """Measures peak memory from its creation on.

    On a GPU, this is the memory of tensors. On a CPU, it is the resident memory of the process, from the
    start of the process on systems other than Linux.
    """

    before: int

    def __init__(self, device: torch.device) -> None:
        import psutil

        self.device = device
        if device.type == "cuda":
            self.before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            return
        self.before = psutil.Process().memory_info().rss
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark (proc(5))

    def bytes(self) -> int:
        """Return the peak in bytes, for the whole process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resident_peak()


def resident_peak() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
