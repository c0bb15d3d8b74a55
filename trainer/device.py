"""Choice of the training device, and its free memory."""

from __future__ import annotations

import os
from typing import Literal

import torch

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


def free_memory(device: torch.device) -> int:
    """Return the bytes that are currently free on ``device``."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    free: int = psutil.virtual_memory().available
    return free
