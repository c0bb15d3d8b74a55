"""Whether there is a GPU, without a library that would have to be imported."""

from __future__ import annotations

from pathlib import Path


def has_gpu() -> bool:
    """Is there an NVIDIA GPU? Looks at the device files, so that torch need not be imported."""
    return Path("/dev/nvidia0").exists()
