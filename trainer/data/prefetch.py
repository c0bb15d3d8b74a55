"""Packs that are made in another thread while the model computes the ones before them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from threading import Thread

import torch

from .examples import Example
from .packs import Pack

#: A pack, as the indices of its examples.
Indices = Sequence[int]


class Prefetch:
    """Makes packs on ``device`` in order, each while the one before it is computed.

    The packs are those that :meth:`Pack.of` makes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._next: tuple[Sequence[Example], Indices, Future[Pack]] | None = None

    def packs(
        self, examples: Sequence[Example], packs: Sequence[Indices], then: Indices | None = None
    ) -> Iterator[Pack]:
        """Yield each of the ``packs`` of these ``examples``. ``then``: the first pack after these."""
        for indices, following in zip(packs, [*packs[1:], then]):
            pack = self._made(examples, indices)
            if following is not None:
                self._start(examples, following)
            yield pack

    def _made(self, examples: Sequence[Example], indices: Indices) -> Pack:
        """Return the pack that was started last, if it is this one; make it otherwise."""
        started, self._next = self._next, None
        if started is not None and started[0] is examples and started[1] == indices:
            return started[2].result()
        return self._of(examples, indices)

    def _start(self, examples: Sequence[Example], indices: Indices) -> None:
        made: Future[Pack] = Future()
        self._next = examples, indices, made
        Thread(target=self._make, args=(examples, indices, made), daemon=True).start()

    def _make(self, examples: Sequence[Example], indices: Indices, made: Future[Pack]) -> None:
        try:
            made.set_result(self._of(examples, indices))
        except BaseException as error:
            made.set_exception(error)

    def _of(self, examples: Sequence[Example], indices: Indices) -> Pack:
        return Pack.of([examples[index] for index in indices], self.device)
