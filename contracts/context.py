"""The context that the runner gives to an operator: its seed, its folder, engines, and rows of other steps.

Part of the contracts: everything may import this module, and it imports only other contracts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .errors import EngineError
from .inference import Completion, Engine, ModelWeights, Request, StoredEmbedder
from .rows import Row

if TYPE_CHECKING:
    import pyarrow as pa


class Context(Protocol):
    """The context that the runner passes to an operator.

    ``seed``: derived from the file's seed, the round and the step. ``workdir``: a folder private to this
    step that survives a resume (for checkpoints) and is removed when the step is done.
    """

    @property
    def step(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def workdir(self) -> Path: ...

    def engine(self, model: str) -> Engine:
        """The engine that serves the model (or trained student) named by a parameter."""
        ...

    def ask(self, model: str, requests: Sequence[Request]) -> list[Completion | EngineError]:
        """Ask the engine of a model and wait for all answers, or for the error of each request (asking.py).

        For an operator that decides about all rows.
        """
        ...

    def weights(self, model: str) -> ModelWeights:
        """The weights on disk of the model (or trained student) named by a parameter."""
        ...

    def embedder(self, model: str | None) -> StoredEmbedder:
        """The embedding model named by a parameter, with the run's stored vectors; None: the packaged
        default."""
        ...

    def table(self, step: str) -> pa.Table:
        """The kept rows of another step named by a parameter."""
        ...

    def measured(self, model: str) -> Mapping[str, Row] | None:
        """What a finished evaluation measured of ``model`` on this evaluation's items, by their ``_id``.

        Holds the columns :attr:`.evaluation.Evaluate.measures` of every item. None: the model must be asked.
        """
        ...

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        """Report the progress of a long operation.

        ``unit``: "rows", "tokens", "steps", or in several words what is done: "loading the model".
        """
        ...

    def check(self) -> None:
        """Raise if the run is stopping (Ctrl-C, a budget). Long operations call this regularly."""
        ...
