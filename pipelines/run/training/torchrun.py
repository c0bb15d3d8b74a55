"""Training under ``torchrun``: the first process carries out the whole run, the others join its trainings.

``torchrun`` starts the same command several times. All processes but the first wait for a training step,
carry it out together with the first, and wait again, until the run is over.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from ....contracts.context import Context
from ....contracts.errors import GristmillError
from ....contracts.training import Trained
from .group import PATIENCE, gpus
from .job import TrainingJob, packed, unpacked


def started_several() -> bool:
    """Has ``torchrun`` started several processes, of which this is one?"""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def only_once(command: Callable[[], int]) -> int:
    """Carry out the command in the first process, and its trainings in all. Returns an exit status."""
    if not started_several():
        return command()
    if os.environ["RANK"] != "0":
        return _follow()
    status = command()
    if status == 0:  # otherwise torchrun ends the other processes
        _shared(None)
        _leave()
    return status


def lead(job: TrainingJob, context: Context) -> Trained:
    """Train together with the processes that follow."""
    _shared(packed(job))
    return job.operator.fit(job.table, context)


def _follow() -> int:
    """Carry out the trainings of the first process until its run is over."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first process decides, and tells the others
    while (data := _shared(None)) is not None:
        try:
            unpacked(data).carry_out()
        except GristmillError:
            continue  # the first process has the same error, and reports it
    _leave()
    return 0


def _leave() -> None:
    """End the process group together: an interpreter that exits with its threads running may be aborted."""
    from torch import distributed

    distributed.barrier()
    distributed.destroy_process_group()


def _shared(data: bytes | None) -> bytes | None:
    """Return the first process's ``data`` in all of them."""
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        if found := gpus():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % found)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if found else "gloo", timeout=PATIENCE)
    shared = [data]
    distributed.broadcast_object_list(shared, src=0, device=torch.device("cpu"))
    return shared[0]
