"""Data parallelism: several processes, each with the whole model and a share of every step's packs.

Losses are divided by the whole step's count before differentiation, so the sum of the processes' gradients is
the gradient of the step. Start the processes with ``torchrun`` (or anything that calls
``torch.distributed.init_process_group``). Otherwise there is one process, and nothing here communicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed, nn

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Processes:
    """The ``rank`` of this process among ``size`` processes."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Processes:
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Return the indices of this process's share of ``count`` pieces of work."""
        return range(self.rank, count, self.size)

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, by rank. All processes must call it."""
        if self.size == 1:
            return [value]
        found: list[Value | None] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found  # type: ignore[return-value]

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes; a missing one counts as zero.

        All processes must call it.
        """
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts):
            parameter.grad = part.view_as(parameter)
