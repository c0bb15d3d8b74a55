"""The progress callback of a download."""

from __future__ import annotations

from typing import Protocol


class FetchProgress(Protocol):
    """Called while weights are prepared.

    ``stage``: the current operation, in words ("downloading"). ``done`` and ``total`` are bytes if
    ``total`` is above 1; if it is 1, ``done`` is a share from 0 to 1.
    """

    def __call__(self, stage: str, done: float, total: float) -> None: ...


def silent(stage: str, done: float, total: float) -> None:
    """Says nothing."""
