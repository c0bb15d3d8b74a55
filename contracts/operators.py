"""The kinds of operator, what they return, and the context they run in.

An operator is a frozen pydantic model: its fields are the parameters that a pipeline file gives,
its methods do the work. Modules that define operators import nothing heavy at the top (torch,
vLLM and Ray are imported where they are used), so that a plan takes milliseconds.

Part of the contracts: everything may import this module, and it imports only other contracts.
"""

from __future__ import annotations

import types
import typing
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

from pydantic import Field

from .counting import counted
from .errors import DataError, EngineError
from .frozen import Frozen
from .inference import Capability, Completion, Engine, ModelWeights, Request, StoredEmbedder
from .nearest import did_you_mean
from .rows import Row
from .source_pieces import CarryOut, SourcePiece
from .stored_rows import StoredRows, TableRows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

# --- what happens to a row -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """The row is kept; the columns of ``row`` are added to those of its parent or replace them."""

    row: Row


@dataclass(frozen=True, slots=True)
class Filtered:
    """The row is filtered: by which rule, at which score, and as a duplicate of which ``_id``."""

    rule: str
    score: float | None = None
    duplicate_of: str | None = None
    row: Row = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The row could not be made or judged. ``retryable`` is false if another attempt cannot help."""

    error: str
    retryable: bool = False
    row: Row = field(default_factory=dict)


Outcome: TypeAlias = Kept | Filtered | Failed


@dataclass(slots=True)
class TableResult:
    """The result of a table operator, aligned with the rows of its input.

    ``kept``: bool, shape ``(rows,)``; None keeps all. ``rule``: why the others are filtered, one
    rule for all or one per row. ``score``: float64 ``(rows,)``. ``duplicate_of``: the ``_id`` each filtered
    row duplicates, or the number of that row (int64 ``(rows,)``, -1 for none), which takes less memory.
    ``errors``: for each row that failed, a message or a :class:`Failed` that says whether another attempt can
    help; None for the others.
    ``columns``: Arrow arrays (or chunked arrays) to add or replace, of the table's length.
    ``summary``: JSON-able figures for the report.
    """

    kept: NDArray[np.bool_] | None = None
    rule: str | Sequence[str | None] = ""
    score: NDArray[np.float64] | None = None
    duplicate_of: Sequence[str | None] | NDArray[np.int64] | None = None
    errors: Sequence[str | Failed | None] | None = None
    columns: Mapping[str, pa.Array | pa.ChunkedArray] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class NewRows:
    """New rows, each made from several parents (for example preference pairs).

    ``parents[i]``: the ``_id`` of the parents of ``rows[i]``, at least one. ``unused``: for each input
    row that has no children, the reason. Together they account for every input row.
    """

    rows: Sequence[Row]
    parents: Sequence[Sequence[str]]
    unused: Mapping[str, Filtered | Failed] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


# --- the context of a running operator -----------------------------------------------------------


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

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        """Report the progress of a long operation (``unit``: "rows", "tokens", "steps")."""
        ...

    def check(self) -> None:
        """Raise if the run is stopping (Ctrl-C, a budget). Long operations call this regularly."""
        ...


Apply: TypeAlias = Callable[[list[Row]], Awaitable[list[list[Outcome]]]]
TableApply: TypeAlias = "Callable[[pa.Table], TableResult]"


# --- references in parameters --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """Marks a parameter that names a model (or a train step) or another step's rows."""

    kind: typing.Literal["model", "step", "embedder"]


ModelRef: TypeAlias = Annotated[str, Reference("model")]
StepRef: TypeAlias = Annotated[str, Reference("step")]
EmbedderRef: TypeAlias = Annotated[str, Reference("embedder")]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected output and cost of a step, for ``gristmill plan``.

    Tokens are totals. ``runs``: programs run in the sandbox.
    """

    rows: int
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    trained_tokens: int = 0
    runs: int = 0


# --- the kinds -----------------------------------------------------------------------------------


class Operator(Frozen):
    """The parameters of a step. Subclass one of the kinds below, not this.

    ``version``: raise it when the same parameters start to give different rows; it is part of the
    step's fingerprint. ``value_field``: for a verb without named operators (``keep: "a > 1"``),
    the parameter that the verb's value sets. ``input_field``: the key that names the input step.
    """

    version: ClassVar[int] = 1
    value_field: ClassVar[str | None] = None
    input_field: ClassVar[str] = "from"
    #: Does the result depend on the step's seed? If not, the fingerprint leaves the seed out.
    seeded: ClassVar[bool] = False
    #: Other tools' name of a parameter -> what is written here, as YAML, or "leave it out" and why: said when
    #: that name is found.
    other_names: ClassVar[Mapping[str, str]] = {}
    #: Parameters that change how fast a step runs, and not what it makes: the fingerprint leaves them out.
    pace: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def resolve(cls, value: object) -> type[Operator]:
        """The class that serves a step whose verb has this value (``map`` has one per kind of function)."""
        return cls

    def content(self) -> Mapping[str, str]:
        """Digests of what the parameters refer to: files, templates, a function's source.

        Part of the fingerprint. Raises DataError if a reference cannot be found.
        """
        return {}

    def inspect(self) -> None:
        """Raise DataError if a parameter is invalid whatever the rows: an expression that cannot be parsed,
        say.

        Called when the plan is made.
        """
        return

    def uses_columns(self) -> Iterable[str]:
        """The input columns that the step requires, as far as its parameters name them."""
        return ()

    def replaces_columns(self) -> Iterable[str]:
        """Those of :meth:`uses_columns` whose values the step changes.

        They must be columns of the rows. Others are read of conversations too (``exchanges.py``).
        """
        return ()

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise DataError if a parameter names a column that is not among the input's ``columns``.

        Called when the plan is made, if the input's columns are known.
        """
        check_names(self.uses_columns(), columns)

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raise DataError if a parameter does not fit the input steps ``names``.

        Called when the plan is made.
        """
        return

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        """Raise DataError if the rows of another ``step``, named by the parameter ``field``, lack a column.

        Called when the plan is made, if that step's ``columns`` are known.
        """
        return

    def check_weights(self, weights: Mapping[str, Sequence[Path]]) -> None:
        """Raise ModelError if weights cannot be used, as far as that is known without loading them.

        ``weights``: the directories of the weights that are on this machine, by the model parameter that
        names them. Called when the plan is made.
        """
        return

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        """The columns that the step's rows may have, given the input's; None if unknown before it runs.

        Too many are better than too few.
        """
        return None

    def embeds(self) -> bool:
        """Whether the step embeds texts. Asked of a step that can name an embedder and does not."""
        return True

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        """For each model parameter (by field name), the capabilities its engine must have."""
        return {}

    def estimate(self, rows: int) -> Estimate:
        """The expected output and cost for ``rows`` input rows."""
        return Estimate(rows=rows)

    @classmethod
    def reference_fields(cls) -> Iterator[tuple[str, str]]:
        """(field, kind of reference) for each parameter that can name a model or a step."""
        for name, info in cls.model_fields.items():
            for marker in [*info.metadata, *_markers(info.annotation)]:
                if isinstance(marker, Reference):
                    yield name, marker.kind

    def references(self) -> Iterator[tuple[str, str, str]]:
        """(field, kind of reference, name) for each parameter that names a model or a step."""
        for name, kind in dict.fromkeys(self.reference_fields()):
            value = getattr(self, name)
            if value is not None:
                for target in value if isinstance(value, (list, tuple)) else [value]:
                    yield name, kind, target


def check_names(names: Iterable[str], columns: Sequence[str], whose: str = "") -> None:
    """Raise DataError if one of ``names`` is not among ``columns``. ``whose``: begins the message."""
    for name in names:
        if name not in columns:
            raise DataError(f"{whose}{': ' if whose else ''}{no_column(name, columns)}")


def no_column(name: str, columns: Sequence[str]) -> str:
    """The error message for an unknown column ``name``, with the closest existing one."""
    own = [each for each in columns if not each.startswith("_")]
    meant = did_you_mean(name, own) or "."
    return f"no column '{name}'{meant} The columns are: {', '.join(own) or 'none'}"


def _markers(annotation: object) -> Iterator[object]:
    """The ``Annotated`` markers inside a union or a list (``ModelRef | None``)."""
    if typing.get_origin(annotation) is Annotated:
        yield from typing.get_args(annotation)[1:]
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, list, tuple):
        for inner in typing.get_args(annotation):
            yield from _markers(inner)


class Source(Operator):
    """Makes rows from its parameters alone."""

    @abstractmethod
    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        """The rows, in a fixed order, in batches. The runner adds ``_id``."""

    def pieces(self, context: Context, carry_out: CarryOut | None = None) -> Sequence[SourcePiece] | None:
        """The same rows in pieces that can be read apart; None if they can only be read in order.

        Without rows, at least one piece if the columns are known. ``carry_out``: finds the pieces on other
        machines, if the source has much to read for it.
        """
        return None


class Map(Operator):
    """Micro-batch of rows -> rows. Any partition of the input gives the same rows.

    ``makes_rows``: true if the outcomes are new rows (children with new ids, any number per parent);
    false if each row keeps its identity and gains columns (exactly one outcome per row).
    ``batch_rows``: the number of rows per micro-batch.
    """

    makes_rows: ClassVar[bool] = False
    batch_rows: ClassVar[int] = 2048

    @abstractmethod
    def open(self, context: Context) -> Apply:
        """Compile templates, acquire engines, and return the coroutine function that maps a micro-batch.

        It gets rows with their ``_id`` and returns one list of outcomes per row, in order.
        """

    def types(self) -> Mapping[str, pa.DataType]:
        """Arrow types of the added columns that cannot be inferred from the values."""
        return {}

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """JSON-able figures over all kept rows of the step, once it is done."""
        return {}


class TableMap(Operator):
    """Like a :class:`Map` that adds columns or filters, but on whole Arrow columns, for speed."""

    batch_rows: ClassVar[int] = 65_536

    @abstractmethod
    def open(self, context: Context) -> TableApply:
        """Return the function that judges one micro-batch (a table)."""


class WholeTable(Operator):
    """Data set -> data set: operators that decide over all rows (dedup, cluster, select, pair).

    A subclass overrides :meth:`judge`, which reads the rows from disk in batches and works on any number of
    them, or :meth:`apply`, which gets them as one table in memory.
    """

    def judge(self, rows: StoredRows, context: Context) -> TableResult | NewRows:
        """Judge (or pair up) all rows. They have an ``_id`` column."""
        return self.apply(rows.table(), context)

    def apply(self, table: pa.Table, context: Context) -> TableResult | NewRows:
        """:meth:`judge` for a table in memory, with an ``_id`` column."""
        return self.judge(TableRows(table), context)


class Evaluate(Map):
    """Model, tasks -> metrics with per-item outcomes.

    A map over the rows of ``tasks``: one outcome per item. :meth:`Map.summary` computes the metrics
    that ``loop.when`` reads.
    """

    input_field: ClassVar[str] = "tasks"
    tasks: StepRef
    """Step whose rows are the items to evaluate on."""


#: A column of the rows of a training whose step has ``mix``: which of its inputs each row is from, as a
#: dictionary array of their names in the order of ``from``.
INPUT = "_input"


@dataclass(slots=True)
class Trained:
    """The result of a training.

    ``adapter``: a directory (PEFT's layout) inside the context's ``workdir``. ``metrics``: JSON-able.
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

    def check_inputs(self, names: Sequence[str]) -> None:
        if self.mix is not None and len(self.mix) != len(names):
            raise DataError(
                f"mix: {counted(len(self.mix), 'weight')} for {counted(len(names), 'step')} in `from` "
                f"({', '.join(names)}): give one for each"
            )

    def processes_on(self, gpus: int) -> int:
        """The number of processes to train in, where there are ``gpus`` GPUs."""
        return 1 if self.processes == "auto" else self.processes

    def student_needs(self) -> Mapping[Capability, str]:
        """What an engine must support to serve the student, each with the setting that brings it."""
        return {"adapter": "an adapter"}

    @abstractmethod
    def fit(self, table: pa.Table, context: Context) -> Trained:
        """Train on the rows of ``table``. Resumes from the checkpoints of an earlier call in ``workdir``.

        If it trains in several processes, it is called in each of them, in one process group of
        ``torch.distributed``.
        """


@dataclass(slots=True)
class Written:
    """The files that a sink wrote. ``location``: a path or URL. ``files``: names relative to it."""

    location: str
    files: Sequence[str]
    rows: int


class Sink(Operator):
    """Data set -> files. Writing is idempotent.

    A subclass overrides :meth:`export`, which reads the rows from disk in batches, or :meth:`write`, which
    gets them as one table in memory.
    """

    def export(self, rows: StoredRows, context: Context, default: Path) -> Written:
        """Write the rows to the path that the parameters name, else below ``default``."""
        return self.write(rows.table(), context, default)

    def write(self, table: pa.Table, context: Context, default: Path) -> Written:
        """:meth:`export` for a table in memory."""
        return self.export(TableRows(table), context, default)
