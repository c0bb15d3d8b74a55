"""Packs that are made in another thread while the model computes the ones before them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from threading import Thread

import torch

from .examples import Example
from .packs import Pack

Rows = Sequence[Example]


class Prefetch:
    """Makes packs on ``device`` in order, each while the one before it is computed.

    The packs are those that :meth:`Pack.of` makes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._next: tuple[Rows, Future[Pack]] | None = None

    def packs(self, groups: Sequence[Rows], then: Rows | None = None) -> Iterator[Pack]:
        """Yield the pack of each of the ``groups``. ``then``: the rows of the first pack after these."""
        for rows, following in zip(groups, [*groups[1:], then]):
            pack = self._made(rows)
            if following is not None:
                self._start(following)
            yield pack

    def _made(self, rows: Rows) -> Pack:
        """Return what was started last, if it is the pack of these rows; make it otherwise."""
        started, self._next = self._next, None
        if started is not None and len(started[0]) == len(rows) and all(map(_same, started[0], rows)):
            return started[1].result()
        return Pack.of(rows, self.device)

    def _start(self, rows: Rows) -> None:
        made: Future[Pack] = Future()
        self._next = rows, made
        Thread(target=self._make, args=(rows, made), daemon=True).start()

    def _make(self, rows: Rows, made: Future[Pack]) -> None:
        try:
            made.set_result(Pack.of(rows, self.device))
        except BaseException as error:
            made.set_exception(error)


def _same(one: Example, other: Example) -> bool:
    return one is other
