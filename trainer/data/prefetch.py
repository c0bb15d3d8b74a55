"""Packs that are made in another thread while the model computes the ones before them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread

import torch

from .examples import Example
from .packs import Pack

Indices = Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class _Started:
    """A pack that is being made: which one, and where it will be."""

    examples: Sequence[Example]
    indices: Indices
    made: Future[Pack]

    def of(self, examples: Sequence[Example], indices: Indices) -> bool:
        return self.examples is examples and list(self.indices) == list(indices)


class Prefetch:
    """Makes packs on ``device`` in order, each while the one before it is computed.

    The packs are those that :meth:`Pack.of` makes. Their examples are also read in the other thread.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._next: _Started | None = None

    def packs(
        self, examples: Sequence[Example], groups: Sequence[Indices], then: Indices | None = None
    ) -> Iterator[Pack]:
        """Yield the pack of each of the ``groups`` of examples. ``then``: the first group after these."""
        for indices, following in zip(groups, [*groups[1:], then]):
            pack = self._take(examples, indices)
            if following is not None:
                self._start(examples, following)
            yield pack

    def _take(self, examples: Sequence[Example], indices: Indices) -> Pack:
        """Return what was started last, if it is this pack; make this pack otherwise."""
        started, self._next = self._next, None
        if started is not None and started.of(examples, indices):
            return started.made.result()
        return self._make(examples, indices)

    def _make(self, examples: Sequence[Example], indices: Indices) -> Pack:
        return Pack.of([examples[index] for index in indices], self.device)

    def _start(self, examples: Sequence[Example], indices: Indices) -> None:
        self._next = started = _Started(examples, indices, Future())
        # Not a daemon: an interpreter that exits within PyTorch's code in a thread is aborted.
        Thread(target=self._finish, args=(started,)).start()

    def _finish(self, started: _Started) -> None:
        try:
            started.made.set_result(self._make(started.examples, started.indices))
        except BaseException as error:
            started.made.set_exception(error)
