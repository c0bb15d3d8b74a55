"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def give_back() -> None:
    """Return the memory of models that were dropped: also of those in cycles, and what glibc holds.

    Its allocator keeps what is free below a block in use. With another C library, only cycles are collected.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
