"""The data types of a plan; all are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...contracts.operators import Operator
from ..file.spec import OnFailure, PipelineSpec


@dataclass(frozen=True, slots=True)
class Carry:
    """A promoted student that replaces a model: its adapter, the adapter's digest, its train step."""

    adapter: Path
    digest: str
    step: str


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model of the file (or the packaged embedder) as this round uses it.

    ``engine``: the kind ("vllm", ..., "embedder"). ``reference``: catalogue name, id or path; empty
    for an engine without weights. ``digest`` covers the weights and the adapter. ``adapter``: that of
    the file, or of a promoted student.
    """

    name: str
    engine: str
    reference: str
    options: Mapping[str, object]
    digest: str
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a round.

    ``inputs``: its input steps (``from`` or ``tasks``). ``reads``: steps whose rows other
    parameters name. ``models``: every model it names -> "model", "train" (a train step) or
    "embedder". ``depends``: all steps that must be done before. ``fingerprint``: 64 hex digits over
    everything that determines its rows.
    """

    name: str
    label: str
    operator: Operator
    fingerprint: str
    seed: int
    inputs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    depends: tuple[str, ...] = ()
    on_failure: OnFailure = "continue"
    #: The canonical request that was hashed; `--against` compares it.
    request: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The step's folder name in a run directory."""
        return f"{self.name}-{self.fingerprint[:12]}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A round: its steps in an order in which they can run, that of the file where possible."""

    spec: PipelineSpec
    file: str
    round: int
    steps: tuple[PlannedStep, ...]
    models: Mapping[str, PlannedModel]

    def step(self, name: str) -> PlannedStep:
        """The step of that name. Raises KeyError."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)
