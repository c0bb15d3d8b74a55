"""Training under ``torchrun``: the first process carries out the whole run, the others join its trainings.

``torchrun`` starts the same command several times. All processes but the first wait for a training step,
carry it out together with the first, and wait again, until the run is over.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from ....contracts.context import Context
from ....contracts.errors import GristmillError
from ....contracts.training import Trained
from .group import PATIENCE, gpus
from .job import TrainingJob, packed, unpacked


def started_several() -> bool:
    """Has ``torchrun`` started several processes, of which this is one?"""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def only_once(command: Callable[[], int]) -> int:
    """Carry out the command in the first process, and its trainings in all.

    Returns an exit status. A process that torchrun started with others ends here, and does not return.
    """
    if started_several():
        _leave(*_carried_out(command))
    return command()


def _carried_out(command: Callable[[], int]) -> tuple[int, bool]:
    """Return the exit status, and whether all processes end together."""
    if os.environ["RANK"] != "0":
        _follow()
        return 0, True
    status = command()
    # After an error in a training, the others may not be waiting for the next one: torchrun ends them.
    together = status == 0 or not _met()
    if together:
        _shared(None)
    return status, together


def lead(job: TrainingJob, context: Context) -> Trained:
    """Train together with the processes that follow."""
    _shared(packed(job))
    return job.operator.fit(job.table, context)


def _follow() -> None:
    """Carry out the trainings of the first process until its run is over."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first process decides, and tells the others
    while (data := _shared(None)) is not None:
        try:
            unpacked(data).carry_out()
        except GristmillError:
            continue  # the first process has the same error, and reports it


def _leave(status: int, together: bool) -> NoReturn:
    """End this process with the status, ``together`` with the others or alone.

    The threads of a process group outlive ``destroy_process_group`` while anything refers to the group, and
    an interpreter that exits while they run may be aborted. So the interpreter is not finalized.
    """
    from torch import distributed

    if together:
        distributed.barrier()
        distributed.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _met() -> bool:
    """Is this process connected to the others?"""
    from torch import distributed

    return distributed.is_initialized()


def _shared(data: bytes | None) -> bytes | None:
    """Return the first process's ``data`` in all of them."""
    import torch
    from torch import distributed

    if not _met():
        if found := gpus():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % found)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if found else "gloo", timeout=PATIENCE)
    shared = [data]
    distributed.broadcast_object_list(shared, src=0, device=torch.device("cpu"))
    return shared[0]
