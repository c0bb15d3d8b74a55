"""Which allocator Arrow takes while a run works."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def arrow_pool() -> Iterator[None]:
    """Allocate Arrow's memory with jemalloc, where this build of Arrow has it and the environment names no other.

    Micro-batches are made in one thread and freed in another; of Arrow's default allocator that leaves several times
    what is in use with the process, and new pages to touch.
    """
    before = pa.default_memory_pool()
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
