"""Selects Arrow's memory allocator for a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def arrow_pool() -> Iterator[None]:
    """Allocate Arrow's memory with jemalloc, if this build of Arrow has it and the environment selects no
    other.

    Micro-batches are allocated in one thread and freed in another. With Arrow's default allocator, the
    process then holds several times the memory in use.
    """
    before = pa.default_memory_pool()
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
