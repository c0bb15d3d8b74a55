"""The process group in which a step trains, and the GPUs for it."""

from __future__ import annotations

from datetime import timedelta

from ....contracts.training import Train

#: How long a process waits for the others in a collective operation. Whoever started them notices earlier
#: that one was lost.
PATIENCE = timedelta(days=7)


def gpus() -> int:
    """The number of GPUs of this machine that are visible."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def backend(operator: Train, local_gpus: int) -> str:
    """The backends of the process group: Python objects always travel over gloo."""
    on_gpu = local_gpus and getattr(operator, "device", "auto") != "cpu"
    return "cpu:gloo,cuda:nccl" if on_gpu else "gloo"


def join(operator: Train, rank: int, size: int, address: str) -> None:
    """Join the process group as process ``rank`` of ``size``, once all others have. Keeps to GPU ``rank``."""
    import torch

    found = gpus()
    chosen = backend(operator, found)
    if "nccl" in chosen:
        torch.cuda.set_device(rank % found)
    torch.distributed.init_process_group(
        chosen, init_method=address, rank=rank, world_size=size, timeout=PATIENCE
    )
