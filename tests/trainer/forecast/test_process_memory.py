"""The memory of the process: what is kept per shape of a matrix product is bounded, and the peak is seen."""

from __future__ import annotations

import mmap
import os
import platform
import subprocess
import sys

import pytest
import torch

from gristmill.trainer.forecast.process_memory import CAPACITIES, DEFAULT, LEAST, PeakMemory, bound_products

#: Prints by how many KiB per shape the memory in use grows once the caches are full.
GROWTH = """
import ctypes, torch
from gristmill.trainer.forecast.process_memory import bound_products

bound = bound_products(0)
torch.set_num_threads(1)

class Found(ctypes.Structure):  # mallinfo2(3)
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Found
w = torch.ones(64, 64, dtype=torch.bfloat16)

def used(shapes):
    for size in shapes:
        torch.ones(size, 64, dtype=torch.bfloat16) @ w
    return libc.mallinfo2().h

full = used(range(100, 100 + bound + 50))
print((used(range(400, 600)) - full) / 200 / 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc says how much is in use")
def test_products_of_ever_new_shapes_take_no_more_memory() -> None:
    free = {name: value for name, value in os.environ.items() if name not in CAPACITIES}
    done = subprocess.run(
        [sys.executable, "-P", "-c", GROWTH], capture_output=True, text=True, timeout=300, env=free
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 50  # 560 without a bound, where oneDNN computes


def test_the_first_bound_holds_and_the_users_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CAPACITIES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    assert bound_products(5) == LEAST
    assert bound_products(400) == LEAST
    monkeypatch.setenv(CAPACITIES[0], "300")
    assert bound_products(400) == 300
    monkeypatch.setenv(CAPACITIES[0], "many")
    assert bound_products(400) == DEFAULT


#: Prints how many MiB of 100 that were freed between blocks that are kept the process holds before and after.
FREED = """
import psutil, torch
from gristmill.trainer.forecast.process_memory import return_freed, steady_allocator

steady_allocator()
held = lambda: psutil.Process().memory_info().rss / 2**20
blocks = [torch.ones(size) for _ in range(100) for size in (2**18, 2**16)]
full = held()
del blocks[::2]
freed = held()
return_freed()
print(full - freed, full - held())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no malloc_trim")
def test_what_was_freed_between_blocks_that_are_kept_is_returned() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", FREED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    by_glibc, in_all = map(float, done.stdout.split())
    assert by_glibc < 20, "this test needs memory that glibc holds"
    assert in_all > 80


def test_the_peak_is_seen_after_the_memory_is_freed() -> None:
    peak = PeakMemory(torch.device("cpu"))
    # Pages of its own, which no test before can have left to the allocator.
    with mmap.mmap(-1, 4 * 2**26) as pages:
        for place in range(0, len(pages), mmap.PAGESIZE):
            pages[place] = 1
    assert peak.bytes() - peak.before > 0.9 * 4 * 2**26
