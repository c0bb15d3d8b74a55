"""How a fetch tells what it is doing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called while weights are made ready.

    ``stage``: what is being done, in words ("downloading"). ``done`` and ``total`` are bytes where
    ``total`` is above 1, and a share (0 to 1) where it is 1.
    """

    def __call__(self, stage: str, done: float, total: float) -> None: ...


def silent(stage: str, done: float, total: float) -> None:
    """Says nothing."""
