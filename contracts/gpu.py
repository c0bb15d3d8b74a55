"""Whether there is a GPU, without a library that would have to be imported."""

from __future__ import annotations

from pathlib import Path


def has_gpu() -> bool:
    """Is there a GPU of NVIDIA or AMD? Looks at the device files, so that torch need not be imported."""
    devices = Path("/dev")
    return any(devices.glob("nvidia[0-9]*")) or any((devices / name).exists() for name in ("dxg", "kfd"))
