"""What a step can be: the few kinds of operator, what they return, and what they may ask for.

An operator is a frozen pydantic model: its fields are the parameters that a pipeline file gives,
its methods do the work. Modules that define operators import nothing heavy at the top (torch,
vLLM and Ray are imported where they are used), so a plan costs milliseconds.

Part of the ground floor: everything may import this module, and it imports none of the rest.
"""

from __future__ import annotations

import types
import typing
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeAlias

from .errors import DataError
from .frozen import Frozen
from .inference import Capability, Embedder, Engine, ModelWeights
from .records import Row
from .spec.nearest import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

# --- what happens to a row -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """The row goes on, with ``row``'s columns added to (or replacing) those of its parent."""

    row: Row


@dataclass(frozen=True, slots=True)
class Filtered:
    """The row is set aside by a rule: which, at which score, and the ``_id`` that it duplicates."""

    rule: str
    score: float | None = None
    neighbour: str | None = None
    row: Row = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The row could not be made or judged. ``retryable`` is false where trying again cannot help."""

    error: str
    retryable: bool = False
    row: Row = field(default_factory=dict)


Outcome: TypeAlias = Kept | Filtered | Failed


@dataclass(slots=True)
class Verdicts:
    """What a table operator says of each of its rows, aligned with the table it was given.

    ``kept``: bool, shape ``(rows,)``; None keeps all. ``rule``: why the others are filtered, one
    for all or one a row. ``score``: float64 ``(rows,)``. ``neighbour``: the ``_id`` each filtered
    row duplicates. ``errors``: for each row that failed a message, or a :class:`Failed` that says whether
    trying again can help; None for the others.
    ``columns``: Arrow arrays (or chunked arrays) to add or replace, of the table's length.
    ``summary``: JSON-able figures for the report.
    """

    kept: NDArray[np.bool_] | None = None
    rule: str | Sequence[str | None] = ""
    score: NDArray[np.float64] | None = None
    neighbour: Sequence[str | None] | None = None
    errors: Sequence[str | Failed | None] | None = None
    columns: Mapping[str, pa.Array | pa.ChunkedArray] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Made:
    """New rows made from several parents each (a preference pair, say).

    ``parents[i]``: the ``_id`` of the parents of ``rows[i]``, at least one. ``left``: for each input
    row that is nobody's parent, why. Together they account for every input row.
    """

    rows: Sequence[Row]
    parents: Sequence[Sequence[str]]
    left: Mapping[str, Filtered | Failed] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


# --- what an operator may ask the engine for -----------------------------------------------------


class Context(Protocol):
    """What the engine hands to an operator at work.

    ``seed``: derived from the file's seed, the round and the step. ``workdir``: a folder of this
    step's own that survives a resume (checkpoints), removed when the step is done.
    """

    @property
    def step(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def workdir(self) -> Path: ...

    def engine(self, model: str) -> Engine:
        """The engine that serves the model (or trained student) a parameter names."""
        ...

    def weights(self, model: str) -> ModelWeights:
        """The weights on disk of the model (or trained student) a parameter names."""
        ...

    def embedder(self, model: str | None) -> Embedder:
        """The embedding model a parameter names; None: the packaged default."""
        ...

    def table(self, step: str) -> pa.Table:
        """The kept rows of another step that a parameter names."""
        ...

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        """Show how far a long piece of work is (``unit``: "rows", "tokens", "steps")."""
        ...

    def check(self) -> None:
        """Call now and then in long work: raises where the run is stopping (Ctrl-C, a budget)."""
        ...


Apply: TypeAlias = Callable[[list[Row]], Awaitable[list[list[Outcome]]]]
TableApply: TypeAlias = "Callable[[pa.Table], Verdicts]"


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
    """What a step is expected to make and cost, for ``gristmill plan``. Tokens are totals; ``runs``: of code, in
    the sandbox."""

    rows: int
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    trained_tokens: int = 0
    runs: int = 0


# --- the kinds -----------------------------------------------------------------------------------


class Operator(Frozen):
    """The parameters of a step. Subclass one of the kinds below, not this.

    ``version``: raise it when the same parameters start to give other rows; it is part of the
    step's fingerprint. ``value_field``: for a verb without named operators (``keep: "a > 1"``),
    the parameter that the verb's own value fills. ``input_field``: the key that names the step
    whose rows come in.
    """

    version: ClassVar[int] = 1
    value_field: ClassVar[str | None] = None
    input_field: ClassVar[str] = "from"
    #: Does the result depend on the step's seed? If not, the seed is no part of the fingerprint.
    seeded: ClassVar[bool] = False

    @classmethod
    def resolve(cls, value: object) -> type[Operator]:
        """The class that serves a step whose verb has this value (``map`` has one a kind of function)."""
        return cls

    def content(self) -> Mapping[str, str]:
        """Digests of what the parameters only name: files, templates, a function's source.

        Part of the fingerprint. Raises DataError where something named cannot be found.
        """
        return {}

    def inspect(self) -> None:
        """Raise DataError where a parameter can be seen to be wrong before a row is there: an expression that cannot
        be parsed, a template that does not compile. Called when the plan is made.
        """
        return

    def uses_columns(self) -> Iterable[str]:
        """The columns of the rows that come in without which the step cannot work, as far as parameters name them."""
        return ()

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise DataError where a parameter names a column that is none of ``columns``, those of the rows that come in.
        Called when the plan is made, where they are known by then."""
        for name in self.uses_columns():
            if name not in columns:
                raise DataError(no_column(name, columns))

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        """The columns that the step's rows may have, given those that come in; None where that is not known before it
        runs. Better too many than too few."""
        return None

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        """For each model parameter (by field name), what its engine must be able to honour."""
        return {}

    def estimate(self, rows: int) -> Estimate:
        """What this step makes of ``rows`` input rows."""
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


def no_column(name: str, columns: Sequence[str]) -> str:
    """The sentence that there is no column ``name``, with the nearest one."""
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
    """Makes rows from nothing but its parameters."""

    @abstractmethod
    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        """The rows, in a fixed order, in batches. The engine adds ``_id``."""


class Map(Operator):
    """Micro-batch of rows -> rows. Any partition of the input gives the same rows.

    ``makes``: true where the outcomes are new rows (children, with ids of their own, as many a
    parent as the operator likes); false where each row stays itself and gains columns (exactly
    one outcome a row). ``batch_rows``: how many rows a micro-batch holds.
    """

    makes: ClassVar[bool] = False
    batch_rows: ClassVar[int] = 2048

    @abstractmethod
    def open(self, context: Context) -> Apply:
        """Compile templates, take engines: returns the coroutine function that maps a micro-batch.

        It gets rows with their ``_id`` and answers one list of outcomes a row, in order.
        """

    def types(self) -> Mapping[str, pa.DataType]:
        """Arrow types of the columns it adds, where guessing from the values would not do."""
        return {}

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """JSON-able figures over all the step's kept rows, once it is done."""
        return {}


class TableMap(Operator):
    """Like a :class:`Map` that adds columns or filters, over Arrow columns at once: for speed."""

    batch_rows: ClassVar[int] = 65_536

    @abstractmethod
    def open(self, context: Context) -> TableApply:
        """Returns the function that judges one micro-batch (a table)."""


class Whole(Operator):
    """The data set -> the data set: what must see all rows at once (dedup, cluster, select, pair)."""

    @abstractmethod
    def apply(self, table: pa.Table, context: Context) -> Verdicts | Made:
        """Judge (or pair up) all rows. ``table`` has an ``_id`` column."""


class Evaluate(Map):
    """Model, tasks -> metrics with per-item outcomes.

    A map over the rows of ``tasks``: one outcome an item; :meth:`Map.summary` makes the metrics,
    which ``loop.when`` reads.
    """

    input_field: ClassVar[str] = "tasks"
    tasks: StepRef
    """Step whose rows are the items to evaluate on."""


@dataclass(slots=True)
class Trained:
    """What training leaves behind.

    ``adapter``: a directory (PEFT's layout) inside the context's ``workdir``. ``metrics``: JSON-able.
    ``history``: a table with a row an optimizer step: ``step`` int64, ``loss`` float64, ``lr``
    float64, ``tokens`` int64 (trained tokens), ``seconds`` float64, ``rows`` list<string> (the
    ``_id`` of every row in the batch) and ``row_loss`` list<float64> (its mean token loss, nats).
    """

    adapter: Path
    metrics: Mapping[str, Any]
    history: pa.Table


class Train(Operator):
    """Data set, model -> model."""

    model: ModelRef
    """Model to train: a name under `models`, or a train step, whose student is trained further. A student's
    adapter must have the same kind, rank, alpha and targets."""

    @abstractmethod
    def fit(self, table: pa.Table, context: Context) -> Trained:
        """Train on the rows of ``table``. Resumes from what an earlier call left in ``workdir``."""


@dataclass(slots=True)
class Written:
    """What a sink wrote. ``location``: a path or URL. ``files``: names below it."""

    location: str
    files: Sequence[str]
    rows: int


class Sink(Operator):
    """Data set -> files. Writing twice leaves the same files."""

    @abstractmethod
    def write(self, table: pa.Table, context: Context, default: Path) -> Written:
        """Write the rows to the place the parameters name, else below ``default``."""
