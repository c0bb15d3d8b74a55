"""Where a model is trained, and what is particular to each kind of device: free memory and random states."""

from __future__ import annotations

import os
from typing import Literal

import torch
from torch import Tensor

from ..pipelines.errors import ModelError

DeviceName = Literal["auto", "cuda", "cpu"]


def choose_device(wanted: DeviceName) -> torch.device:
    """The device to train on. ``auto``: a CUDA GPU where there is one. Of several GPUs a process that ``torchrun`` started takes
    that of its number on the machine. Raises ModelError for a GPU that is not there."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not there):
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= there:
        raise ModelError(
            f"device 'cuda' was asked for GPU {number}, and PyTorch sees {there} here; "
            "set device: cpu, or start as many processes as there are GPUs"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on it now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    free: int = psutil.virtual_memory().available
    return free


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of the random generators that training on ``device`` draws from."""
    states = {"cpu": torch.get_rng_state()}
    return states if device.type == "cpu" else {**states, "cuda": torch.cuda.get_rng_state(device)}


def set_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Go on drawing where :func:`random_states` was called; from another kind of device only what both have."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
