"""Trains on this machine: in this process, in several that are started here, or in those of ``torchrun``."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from ....contracts.context import Context
from ....contracts.training import Train, Trained
from .group import gpus
from .job import TrainingJob
from .processes import train_in_processes
from .torchrun import lead, started_several


def train_here(operator: Train, table: pa.Table, context: Context, tell: Callable[[str], None]) -> Trained:
    """Train in all processes of ``torchrun``, or else in as many as the step asks for.

    ``tell``: reports a restart.
    """
    if started_several() and not operator.alone:
        return lead(TrainingJob.of(operator, table, context), context)
    size = operator.processes_on(gpus() if operator.processes == "auto" else 0)
    if size == 1:
        return operator.fit(table, context)
    return train_in_processes(TrainingJob.of(operator, table, context), size, context, tell)
