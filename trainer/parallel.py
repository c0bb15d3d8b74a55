"""Data parallelism: several processes, each with a share of every step's packs.

Losses are divided by the whole step's count before differentiation, so the sum of the processes' gradients is
the gradient of the step (``gradients.py``). The runner starts the processes (``pipelines/run/training``); so
may ``torchrun`` or anything else that calls ``torch.distributed.init_process_group``. Otherwise there is one
process, and nothing here communicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from torch import distributed

Value = TypeVar("Value")

_ALONE = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Within it, this process computes by itself, also where it is one of several.

    Under ``torchrun`` the others wait for the next training, and take part in nothing else.
    """
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


@dataclass(frozen=True, slots=True)
class Processes:
    """The ``rank`` of this process among ``size`` processes."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Processes:
        if not _ALONE.get() and distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def shares(self, costs: Sequence[int]) -> list[list[int]]:
        """Return the pieces of work of each process, as ascending indices into their ``costs``.

        The costliest piece that is left goes to the process with the least work (longest processing time
        first: Graham, 1969), which takes at most 4/3 of the shortest possible time. Deterministic.
        """
        shares: list[list[int]] = [[] for _ in range(self.size)]
        work = [0] * self.size
        for piece in sorted(range(len(costs)), key=lambda piece: (-costs[piece], piece)):
            rank = work.index(min(work))
            shares[rank].append(piece)
            work[rank] += costs[piece]
        return [sorted(share) for share in shares]

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, by rank. All processes must call it."""
        if self.size == 1:
            return [value]
        found: list[Value | None] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found  # type: ignore[return-value]
