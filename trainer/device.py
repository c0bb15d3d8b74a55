"""Choice of the training device, and its free memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.utils.deterministic

from ..contracts.errors import ModelError

DeviceName = Literal["auto", "cuda", "cpu"]


def choose_device(wanted: DeviceName) -> torch.device:
    """Return the device to train on.

    ``auto``: a CUDA GPU if there is one. With several GPUs, a process started by ``torchrun`` takes the one
    of its local rank. Raises ModelError for a GPU that does not exist.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not there):
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= there:
        raise ModelError(
            f"device 'cuda' needs GPU {number}, but PyTorch finds {there} GPUs; "
            "set device: cpu, or start as many processes as there are GPUs"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


@contextmanager
def fixed_order(*, on_gpu: bool) -> Iterator[None]:
    """Compute with algorithms that sum in a fixed order, so that a training repeats bit for bit.

    On a CPU, all algorithms that training uses do so. On a GPU (``on_gpu``), the backward passes of attention
    and of look-ups have a second algorithm, which PyTorch is asked for, and cuBLAS needs a fixed workspace.
    PyTorch warns of an operation that has none. The process's settings are restored afterwards, except the
    workspace, which cuBLAS reads once.
    """
    if not on_gpu:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    # No value is read before it is written: filling them first would only take time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def free_memory(device: torch.device) -> int:
    """Return the bytes that are currently free on ``device``."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    free: int = psutil.virtual_memory().available
    return free
