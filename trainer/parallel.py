"""Data parallelism: several processes, each with the whole model and a share of every step's packs.

Losses are divided by the whole step's count before they are differentiated, so the sum of the processes' gradients is
the gradient. Start the processes with ``torchrun`` (or anything that calls ``torch.distributed.init_process_group``);
without that there is one, and nothing here communicates.
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
    """This process's ``rank`` among ``size``."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Processes:
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Is this the one that writes files?"""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Which of ``count`` pieces of work are this process's."""
        return range(self.rank, count, self.size)

    def gather(self, value: Value) -> list[Value]:
        """Every process's value, by rank. All processes must call it."""
        if self.size == 1:
            return [value]
        found: list[Value | None] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found  # type: ignore[return-value]

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by the sum of all processes' (none counts as zero). All processes must call it."""
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
