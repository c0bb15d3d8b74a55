"""The operators that make models: what a training and a merge take, and what they give back.

Part of the contracts: everything may import this module, and it imports only other contracts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from .context import Context
from .counting import counted
from .errors import DataError
from .inference import Capability
from .operators import ModelRef, Operator, as_list
from .rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

#: A column of the rows of a step with ``by_input``, such as a training with ``mix``: which of its inputs each
#: row is from, as a dictionary array of their names in the order of ``from``.
INPUT = "_input"


@dataclass(slots=True)
class Trained:
    """The result of a training.

    ``adapter``: a directory inside the context's ``workdir``: an adapter (PEFT's layout) over the model that
    was trained, or a whole model. ``metrics``: JSON-able.
    ``history``: a table with one row per optimizer step: ``step`` int64, ``loss`` float64, ``lr``
    float64, ``tokens`` int64 (trained tokens), ``seconds`` float64, ``rows`` list<string> (the
    ``_id`` of every row in the batch) and ``row_loss`` list<float64> (its mean token loss, nats).
    ``left_out``: a table of the rows that could not be trained on: ``row`` (the ``_id``), ``reason`` (what it
    is counted by) and ``message``.
    """

    adapter: Path
    metrics: Mapping[str, Any]
    history: pa.Table
    left_out: pa.Table | None = None


#: A share, relative to others.
Weight: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Train(Operator):
    """Data set, model -> model."""

    pace: ClassVar[frozenset[str]] = frozenset({"processes", "max_restarts"})
    #: Whether one process carries it out, also where several train together.
    alone: ClassVar[bool] = False

    model: ModelRef
    """Model to train: a name under `models`, or a train step, whose student is trained further. A student's
    adapter must have the same kind, rank, alpha and targets."""
    processes: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Processes that train together, each on its own GPU. `auto` takes one per GPU, of this machine or of the
    Ray cluster, and one process without a GPU."""
    max_restarts: int = Field(default=2, ge=0)
    """How often training starts again from its last checkpoint after a process was lost."""
    mix: Annotated[tuple[Weight, ...], Field(min_length=2)] | None = None
    """Weights of the steps in `from`, in their order: the share of each in the tokens that are trained on,
    relative to the others. By default, all rows are trained on alike."""

    @property
    def by_input(self) -> bool:
        """Whether it must know which of its inputs each row is from."""
        return self.mix is not None

    def check_inputs(self, names: Sequence[str]) -> None:
        if self.mix is not None and len(self.mix) != len(names):
            raise DataError(
                f"mix: {counted(len(self.mix), 'weight')} for {counted(len(names), 'step')} in `from` "
                f"({', '.join(names)}): give one for each"
            )

    def processes_on(self, gpus: int) -> int:
        """The number of processes to train in, where there are ``gpus`` GPUs."""
        return 1 if self.processes == "auto" else self.processes

    def look_at(self, rows: Sequence[Row], *, whole: bool) -> str | None:
        """What is to be said of the first rows of an input before it is trained on, in a sentence; else None.

        ``whole``: whether these are all its rows. Called for ``gristmill plan``.
        """
        return None

    def student_needs(self) -> Mapping[Capability, str]:
        """What an engine must support to serve the student, each with the setting that brings it."""
        return {"adapter": "an adapter"}

    def why_not_merged(self) -> str | None:
        """Why the student cannot be merged into its base; None if it can."""
        return None

    def why_not_read(self) -> str | None:
        """Why another training cannot load the student as a second model; None if it can."""
        return None

    def why_not_continued(self, earlier: Train) -> str | None:
        """Why this training cannot go on from the student of ``earlier``, and the fix; None if it can."""
        return None

    @abstractmethod
    def fit(self, table: pa.Table, context: Context) -> Trained:
        """Train on the rows of ``table``. Resumes from the checkpoints of an earlier call in ``workdir``.

        If it trains in several processes, it is called in each of them, in one process group of
        ``torch.distributed``.
        """


class Merge(Train):
    """Models -> model. Its student is a whole model, which any engine can serve.

    It takes no rows, unless it measures models on them.
    """

    optional_input: ClassVar[bool] = True
    alone: ClassVar[bool] = True

    students: Annotated[
        tuple[ModelRef, ...],
        Field(min_length=1),
        BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    ]
    """What to merge into `model`, their common base: train steps, or models of the same base."""

    @model_validator(mode="after")
    def _no_mixture(self) -> Self:
        if self.mix is not None:
            raise ValueError("mix weighs the rows of a training, and a merge has none: remove it")
        return self

    def processes_on(self, gpus: int) -> int:
        return 1

    def student_needs(self) -> Mapping[Capability, str]:
        return {}
