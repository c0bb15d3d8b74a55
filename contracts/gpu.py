"""Whether there is a GPU, without a library that would have to be imported."""

from __future__ import annotations

from pathlib import Path


def has_gpu() -> bool:
    """Is there an NVIDIA GPU? Looks at the device files, so that torch need not be imported."""
    return any(Path("/dev").glob("nvidia[0-9]*"))
