"""The data types of a plan; all are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.operators import Operator
from ..file.earlier import AT
from ..file.spec import OnFailure, PipelineSpec

if TYPE_CHECKING:
    import pyarrow as pa


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
    the file, or of a promoted student. ``members``: the models and train steps of a combined model, by their
    part in its formula; ``loaded``: for each of them, once, the model of the file behind it.
    """

    name: str
    engine: str
    reference: str
    options: Mapping[str, object]
    digest: str
    adapter: Path | None = None
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    loaded: tuple[PlannedModel, ...] = ()

    @property
    def resident(self) -> bool:
        """Whether one engine serves the model and all its students, also while they are trained."""
        return self.options.get("resident") is True

    @property
    def told(self) -> str:
        """What is loaded, in words: its reference, or the formula of a combined model."""
        if not self.members:
            return self.reference or str(self.options.get("model", ""))
        scale = self.options.get("scale", 1.0)
        plus, minus = self.members["plus"], self.members["minus"]
        scales = scale if isinstance(scale, list | tuple) else [scale] * len(plus)
        terms = [
            f" + {each} x ({one} - {other})" for each, one, other in zip(scales, plus, minus, strict=True)
        ]
        return self.members["base"][0] + "".join(terms)


@dataclass(frozen=True, slots=True)
class EarlierRows:
    """The rows that the step ``step`` kept in an earlier round of the run."""

    step: str
    round: int
    fingerprint: str

    @property
    def name(self) -> str:
        """``kept@1``, as in records of plans."""
        return f"{self.step}{AT}{self.round}"


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a round.

    ``inputs``: its input steps (``from`` or ``tasks``). ``reads``: steps whose rows other
    parameters name. ``models``: every model it names -> "model", "train" (a train step) or
    "embedder". ``students``: train steps whose students it uses, also within a combined model.
    ``depends``: all steps that must be done before. ``fingerprint``: 64 hex digits over
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
    students: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    on_failure: OnFailure = "continue"
    #: Its input rows of earlier rounds, which come before those of ``inputs``.
    earlier: tuple[EarlierRows, ...] = ()
    #: The canonical request that was hashed; `--against` compares it.
    request: Mapping[str, Any] = field(default_factory=dict)
    #: Columns that it names and steps before it declare, with their types. Its rows may lack them.
    declared: Mapping[str, pa.DataType] = field(default_factory=dict)
    #: Columns that some of its own rows may lack, with their types.
    sparse: Mapping[str, pa.DataType] = field(default_factory=dict)

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
