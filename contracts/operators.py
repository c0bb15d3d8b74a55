"""The kinds of operator.

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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from .column_types import check_types
from .context import Context
from .frozen import Frozen
from .inference import Capability
from .mistakes import Collected, ColumnError
from .nearest import did_you_mean
from .outcomes import NewRows, Outcome, TableResult
from .rows import Row
from .source_pieces import CarryOut, SourcePiece
from .stored_rows import StoredRows, TableRows

if TYPE_CHECKING:
    import pyarrow as pa

Apply: TypeAlias = Callable[[list[Row]], Awaitable[list[list[Outcome]]]]
TableApply: TypeAlias = "Callable[[pa.Table], TableResult]"


# --- references in parameters --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """Marks a parameter that names a model (or a train step) or another step's rows.

    ``needs_rows``: the step cannot work if there are no such rows, as in round 1 those of ``kept@all``.
    """

    kind: typing.Literal["model", "step", "embedder"]
    needs_rows: bool = False


ModelRef: TypeAlias = Annotated[str, Reference("model")]
StepRef: TypeAlias = Annotated[str, Reference("step")]
FilledStepRef: TypeAlias = Annotated[str, Reference("step", needs_rows=True)]
EmbedderRef: TypeAlias = Annotated[str, Reference("embedder")]


def as_list(value: object) -> object:
    """A single name as a list of one, for parameters that take one or several."""
    return [value] if isinstance(value, str) else value


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
    #: May the step have no input, so that its ``input_field`` can be left out?
    optional_input: ClassVar[bool] = False
    #: Does the result depend on the step's seed? If not, the fingerprint leaves the seed out.
    seeded: ClassVar[bool] = False
    #: Other tools' name of a parameter -> what is written here (``other_names.py``), or "leave it out" and
    #: why: said when that name is found.
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

    def names_columns(self) -> Iterable[str]:
        """Columns that an expression or a template of the parameters names, beside :meth:`uses_columns`.

        Of conversations they are read as those are (``exchanges.py``). Other names may be among them.
        """
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

    def uses_text(self) -> Iterable[str]:
        """Those of the columns that must hold text."""
        return ()

    def uses_numbers(self) -> Iterable[str]:
        """Those of the columns that must hold numbers or booleans."""
        return ()

    def check_types(self, types: Mapping[str, pa.DataType]) -> None:
        """Raise DataError if a parameter does not fit the Arrow ``types`` of the input's columns.

        Called when the plan is made, with the types that are known.
        """
        check_types(self.uses_text(), self.uses_numbers(), types)

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

    def sparse_columns(self) -> Iterable[str]:
        """Columns that the step writes only where there is something to write: some rows lack them."""
        return ()

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        """The columns that the step's rows may have, given the input's; None if unknown before it runs.

        Too many are better than too few.
        """
        return None

    def makes_types(self, types: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
        """Arrow types of the columns that the step adds, as far as known, given those ``types`` of its input
        that are known.

        Columns of the input that :meth:`makes_columns` does not name by itself keep their type.
        """
        return {}

    def embeds(self) -> bool:
        """Whether the step embeds texts. Asked of a step that can name an embedder and does not."""
        return True

    def environment(self) -> Mapping[str, str]:
        """The environment variables that the step cannot do without, and how to set each."""
        return {}

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        """For each model parameter (by field name), the capabilities its engine must have."""
        return {}

    def estimate(self, rows: int) -> Estimate:
        """The expected output and cost for ``rows`` input rows."""
        return Estimate(rows=rows)

    def most_per_group(self) -> tuple[Sequence[str], int] | None:
        """Columns whose equal values make a group, and how many rows the step gives of each at most; None if
        it does not limit them. A plan then estimates the rows by the number of groups.
        """
        return None

    def derived_from(self, column: str) -> Iterable[str] | None:
        """The columns that alone decide what the step writes into a column; None if there is more to it."""
        return None

    def distinct_values(self) -> Mapping[str, int]:
        """How many different values columns that the step writes can have, as far as known before it runs."""
        return {}

    @classmethod
    def reference_fields(cls) -> Iterator[tuple[str, str]]:
        """(field, kind of reference) for each parameter that can name a model or a step."""
        for name, marker in cls._references():
            yield name, marker.kind

    @classmethod
    def fields_that_need_rows(cls) -> frozenset[str]:
        """The parameters whose step must have rows."""
        return frozenset(name for name, marker in cls._references() if marker.needs_rows)

    @classmethod
    def _references(cls) -> Iterator[tuple[str, Reference]]:
        for name, info in cls.model_fields.items():
            for marker in [*info.metadata, *_markers(info.annotation)]:
                if isinstance(marker, Reference):
                    yield name, marker

    def references(self) -> Iterator[tuple[str, str, str]]:
        """(field, kind of reference, name) for each parameter that names a model or a step."""
        for name, kind in dict.fromkeys(self.reference_fields()):
            value = getattr(self, name)
            if value is not None:
                for target in value if isinstance(value, (list, tuple)) else [value]:
                    yield name, kind, target


def check_names(names: Iterable[str], columns: Sequence[str], whose: str = "") -> None:
    """Raise DataError if one of ``names`` is not among ``columns``. ``whose``: begins the message."""
    with Collected() as found:
        for name in names:
            if name not in columns:
                told = f"{whose}{': ' if whose else ''}{no_column(name, columns)}"
                found.add(ColumnError(told, name))


def no_column(name: str, columns: Sequence[str]) -> str:
    """The error message for an unknown column ``name``, with the closest existing one."""
    own = [each for each in dict.fromkeys(columns) if not each.startswith("_")]
    meant = did_you_mean(name, own) or "."
    return f"no column '{name}'{meant} The columns are: {', '.join(own) or 'none'}"


def _markers(annotation: object) -> Iterator[object]:
    """The ``Annotated`` markers inside a union or a list (``ModelRef | None``)."""
    if typing.get_origin(annotation) is Annotated:
        yield from typing.get_args(annotation)[1:]
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, list, tuple):
        for inner in typing.get_args(annotation):
            yield from _markers(inner)


#: A column of a source's rows: why a row could not be made (text), null for those that were. Such a row has
#: *failed*, and the others are kept.
FAILURE = "_failure"


class Source(Operator):
    """Makes rows from its parameters alone."""

    def reads(self) -> Sequence[Path]:
        """The local files that it reads, as far as known before it runs.

        Raises DataError if one is missing.
        """
        return ()

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

    def makes_types(self, types: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
        return self.types()

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

    def target(self) -> Path | None:
        """The local file or folder that its parameters name; None for the run's own directory, and for
        others."""
        return None

    def export(self, rows: StoredRows, context: Context, default: Path) -> Written:
        """Write the rows to the path that the parameters name, else below ``default``."""
        return self.write(rows.table(), context, default)

    def write(self, table: pa.Table, context: Context, default: Path) -> Written:
        """:meth:`export` for a table in memory."""
        return self.export(TableRows(table), context, default)
