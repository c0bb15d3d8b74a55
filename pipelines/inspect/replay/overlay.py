"""A scratch directory over a run: steps that are made again are written there, and the run is only read."""

from __future__ import annotations

from pathlib import Path

from ...store.run_directory import RunDirectory
from ...store.step_store import StepStore


class Overlay(RunDirectory):
    """The run ``origin``, but the steps in ``again`` (the names of their folders) lie in ``scratch``."""

    def __init__(self, scratch: Path, origin: RunDirectory) -> None:
        super().__init__(scratch)
        self.origin = origin
        self.again: set[str] = set()
        (scratch / "steps").mkdir()

    def step(self, name: str, fingerprint: str) -> StepStore:
        own = super().step(name, fingerprint)
        return own if own.path.name in self.again else self.origin.step(name, fingerprint)
