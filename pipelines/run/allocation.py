"""Selects how a run allocates memory, and returns what is free to the operating system."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

#: Of ``mallopt`` of the GNU C library: the size from which a block is returned as soon as it is freed.
_MMAP_THRESHOLD, _BLOCK = -3, 1 << 20
#: Milliseconds for which Arrow's jemalloc keeps freed memory, without a limit.
_DECAY = 1000


@contextmanager
def allocation(*, limited: bool) -> Iterator[None]:
    """Allocate Arrow's memory with jemalloc, if this build of Arrow has it and the environment selects no
    other.

    Micro-batches are allocated in one thread and freed in another. With Arrow's default allocator, the
    process then holds several times the memory in use. ``limited``: the run has a limit of memory, so that
    what is freed is returned at once, which costs a little time.
    """
    before = pa.default_memory_pool()
    jemalloc = "ARROW_DEFAULT_MEMORY_POOL" not in os.environ and "jemalloc" in pa.supported_memory_backends()
    if jemalloc:
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    if limited:
        # By default this size grows with the largest block that was freed, up to 32 MiB.
        _call("mallopt", _MMAP_THRESHOLD, _BLOCK)
        if jemalloc:
            pa.jemalloc_set_decay_ms(0)
    try:
        yield
    finally:
        if limited and jemalloc:
            pa.jemalloc_set_decay_ms(_DECAY)
        pa.set_memory_pool(before)


def give_back() -> None:
    """Return free memory to the operating system, so that what the process uses can be measured."""
    pa.default_memory_pool().release_unused()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    """Call a function of the C library, if it has it."""
    function: Any = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)
