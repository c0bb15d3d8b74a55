"""Steps that are a user's own function: ``map: my_module:function`` and ``source: my_module:function``.

A function's annotations decide how it is called: once per row to change the row, once per row to make
new rows, or once per Arrow table.
"""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ..contracts.counting import counted
from ..contracts.errors import DataError, EngineError, SandboxDied
from ..contracts.mistakes import at
from ..contracts.operators import Apply, Map, Operator, Source, TableApply, TableMap
from ..contracts.outcomes import Failed, Filtered, Kept, Outcome, TableResult
from ..contracts.rows import Row
from ..contracts.user_function import is_reference, load, source_digest, takes_table, type_hints
from .sources.column_options import final_names
from .sources.shape import Shapes
from .sources.types import fitted, plain, refuse_unholdable

if TYPE_CHECKING:
    import pyarrow as pa

    from ..contracts.context import Context

_BATCH_ROWS = 8192


class _UserStep(Operator):
    """``args``: keyword arguments of every call, besides the rows."""

    args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of every call, besides the rows."""

    def check_call(self, reference: str, *given: object) -> None:
        """Raise DataError if the function does not take what is ``given`` and these ``args``."""
        try:
            signature = inspect.signature(load(reference))
        except ValueError:
            return  # a function without a signature
        try:
            signature.bind(*given, **self.args)
        except TypeError as error:
            with at("args"):
                raise DataError(f"'{reference}' cannot be called: {error}; it takes {signature}") from None


class UserMap(Map, _UserStep):
    """Calls your own function on each row: ``map: my_module:function``.

    A function ``(row: dict) -> dict | None``, plain or async: a dict's entries become columns of the row, and
    None filters the row. A function that returns a list or an iterator of dicts makes new rows. A function
    that takes an Arrow table (``pa.Table``, by its annotation) gets a micro-batch at once. An exception fails
    only its own row. See docs/user-code.md.

    Example:
        short: {map: my_rules:is_short, from: seeds, args: {limit: 200}}
    """

    value_field: ClassVar[str | None] = "map"

    map: str
    """Function to call, as `module:function`. It is looked for in the folder of the pipeline file and in
    the current directory."""
    concurrency: PositiveInt = 32
    """Maximum number of concurrent calls of an async function."""

    @classmethod
    def resolve(cls, value: object) -> type[Operator]:
        """The class for the function that ``value`` names, by its annotations.

        A parameter annotated ``pa.Table`` (or ``pa.RecordBatch``) selects :class:`UserTableMap`, a
        return type that is a list or an iterator :class:`UserMake`. Raises DataError as
        :func:`~gristmill.contracts.user_function.load` does.
        """
        if not isinstance(value, str) or not is_reference(value):
            return cls
        hints = type_hints(load(value))
        returned = hints.pop("return", None)
        if any(takes_table(hint) for hint in hints.values()):
            return UserTableMap
        return UserMake if _is_many(returned) else cls

    def inspect(self) -> None:
        self.check_call(self.map, None)

    def content(self) -> Mapping[str, str]:
        return {self.map: source_digest(self.map)}

    def open(self, context: Context) -> Apply:
        call = partial(load(self.map), **self.args)
        judge = _one if not self.makes_rows else _many
        if inspect.iscoroutinefunction(inspect.unwrap(load(self.map))):
            return _asynchronous(call, judge, self.concurrency)
        return _synchronous(call, judge, context.check)


class UserMake(UserMap):
    """A function ``(row: dict) -> list[dict]`` (or an iterator of dicts): new rows from each row.

    A row from which nothing is made is filtered.
    """

    makes_rows: ClassVar[bool] = True


class UserTableMap(TableMap, _UserStep):
    """A function ``(table: pa.Table) -> pa.Table | pa.Array``, for speed.

    It gets a micro-batch (with ``_id``) and returns a table of the same rows in the same order, whose
    columns are added or replace existing ones, or an array. An array of booleans says which rows are kept;
    any other array becomes a column named like the function.
    """

    value_field: ClassVar[str | None] = "map"

    map: str
    """Function to call, as `module:function`. It is looked for in the folder of the pipeline file and in
    the current directory."""

    def inspect(self) -> None:
        self.check_call(self.map, None)

    def content(self) -> Mapping[str, str]:
        return {self.map: source_digest(self.map)}

    def open(self, context: Context) -> TableApply:
        function = load(self.map)
        call = partial(function, **self.args)
        name = self.map.rpartition(":")[2].rpartition(".")[2]
        wants_batch = any("RecordBatch" in str(hint) for hint in type_hints(function).values())

        def judge(table: pa.Table) -> TableResult:
            given = table.combine_chunks().to_batches()[0] if wants_batch and table.num_rows else table
            try:
                answer = call(given)
            except Exception as error:
                return TableResult(errors=[_failed(error)] * table.num_rows)
            return _table_result(table, answer, name)

        return judge


class UserSource(Source, _UserStep):
    """Reads the rows that your own function yields: ``source: my_module:function``.

    It yields dicts or, for many rows, Arrow tables or record batches. Dicts are held in memory
    until their common types are known. See docs/user-code.md.

    Example:
        seeds: {source: my_rules:tasks, args: {count: 100}}
    """

    value_field: ClassVar[str | None] = "source"

    source: str
    """Function to call, as `module:function`. It is looked for in the folder of the pipeline file and in
    the current directory."""
    rows: PositiveInt | None = None
    """Maximum number of rows to take. By default all rows are taken."""

    def inspect(self) -> None:
        self.check_call(self.source)

    def content(self) -> Mapping[str, str]:
        return {self.source: source_digest(self.source)}

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        try:
            made = iter(load(self.source)(**self.args))
            first = next(made, None)
        except Exception as error:
            raise DataError(f"{self.source}: {_told(error)}") from error
        if first is None:
            return
        everything = self._checked(chain([first], made), context)
        batches = (
            self._from_dicts(everything) if isinstance(first, Mapping) else self._from_tables(everything)
        )
        left = self.rows
        for batch in batches:
            yield batch if left is None else batch.slice(0, left)
            if left is not None:
                left -= min(left, batch.num_rows)
                if left == 0:
                    return

    def _checked(self, made: Iterator[Any], context: Context) -> Iterator[Any]:
        number = 0
        while True:
            context.check()
            try:
                item = next(made)
            except StopIteration:
                return
            except Exception as error:
                raise DataError(f"{self.source}: after {number} items: {_told(error)}") from error
            number += 1
            yield item

    def _from_dicts(self, made: Iterator[Any]) -> Iterator[pa.RecordBatch]:
        shapes = Shapes()
        rows: list[Mapping[str, Any]] = []
        for number, row in enumerate(made):
            if number == self.rows:
                break
            place = f"{self.source}: row {number}"
            if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
                raise DataError(f"{place} is not a dict of columns but a {type(row).__name__}")
            shapes.add(row, place)
            rows.append(row)
        schema = shapes.schema()
        final_names(schema.names, {}, None, self.source)
        for start in range(0, len(rows), _BATCH_ROWS):
            some = rows[start : start + _BATCH_ROWS]
            yield shapes.batch(
                some, schema, [f"{self.source}: row {start + number}" for number in range(len(some))]
            )

    def _from_tables(self, made: Iterator[Any]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        schema: pa.Schema | None = None
        for number, item in enumerate(made):
            if not isinstance(item, (pa.Table, pa.RecordBatch)):
                raise DataError(
                    f"{self.source}: item {number} is a {type(item).__name__}; yield dicts, or Arrow "
                    "tables or "
                    "record batches, and not a mixture"
                )
            here = plain(item.schema)
            if schema is None:
                schema = here
                final_names(schema.names, {}, None, self.source)
                refuse_unholdable(schema, schema.names, self.source)
            if here != schema:
                raise DataError(
                    f"{self.source}: item {number} has the columns {_columns(here)}; those before "
                    f"had {_columns(schema)}"
                )
            for batch in [item] if isinstance(item, pa.RecordBatch) else item.to_batches():
                yield fitted(batch, schema, schema.names, self.source)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _is_many(hint: object) -> bool:
    if isinstance(hint, str):
        return hint.lower().startswith(("list", "tuple", "sequence", "iter", "generator"))
    origin = typing.get_origin(hint) or hint
    return (
        isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, (Mapping, str))
    )


Judge = Callable[[Row, Any], list[Outcome]]


def _synchronous(call: Callable[[Row], Any], judge: Judge, check: Callable[[], None]) -> Apply:
    """Process rows one after another in a thread: the event loop stays free, and calls never overlap.

    ``check``: raises between two rows if the run is stopping.
    """
    turn = asyncio.Lock()

    def answers(rows: list[Row]) -> list[list[Outcome]]:
        found: list[list[Outcome]] = []
        for row in rows:
            check()
            try:
                found.append(judge(row, call(dict(row))))
            except Exception as error:
                found.append([_failed(error)])
        return found

    async def apply(rows: list[Row]) -> list[list[Outcome]]:
        async with turn:
            return await asyncio.to_thread(answers, rows)

    return apply


def _asynchronous(call: Callable[[Row], Any], judge: Judge, concurrency: int) -> Apply:
    async def apply(rows: list[Row]) -> list[list[Outcome]]:
        free = asyncio.Semaphore(concurrency)

        async def answer(row: Row) -> list[Outcome]:
            async with free:
                try:
                    return judge(row, await call(dict(row)))
                except Exception as error:
                    return [_failed(error)]

        return list(await asyncio.gather(*(answer(row) for row in rows)))

    return apply


def _failed(error: Exception) -> Failed:
    """The outcome of a row for which the function raised; retryable if the exception says so."""
    retryable = isinstance(error, (EngineError, SandboxDied)) and error.retryable
    return Failed(_told(error), retryable=retryable)


def _one(row: Row, answer: Any) -> list[Outcome]:
    if answer is None:
        return [Filtered("map: returned None")]
    if isinstance(answer, (list, tuple)):
        return [
            Failed("returned a list: annotate the function `-> list[dict]` if it is to make new rows of each")
        ]
    return [_kept(row, answer)]


def _many(row: Row, answer: Any) -> list[Outcome]:
    if answer is None:
        return [Filtered("map: returned None")]
    if isinstance(answer, (Mapping, str)) or not isinstance(answer, Iterable):
        return [Failed(f"returned a {type(answer).__name__}, not the list of dicts that its annotation says")]
    made = [_kept(row, each) for each in answer]
    return made or [Filtered("map: made no rows")]


def _kept(row: Row, answer: Any) -> Outcome:
    if not isinstance(answer, Mapping):
        return Failed(f"returned a {type(answer).__name__}, not a dict of columns")
    columns: Row = {}
    for name, value in answer.items():
        if not isinstance(name, str):
            return Failed(f"returned a dict with the key {name!r}: columns are named by strings")
        if name.startswith("_"):
            if name in row and row[name] == value:
                continue  # the function returned the row that it was given
            return Failed(f"set {name!r}: names that start with '_' are reserved")
        columns[name] = value
    return Kept(columns)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _table_result(table: pa.Table, answer: Any, name: str) -> TableResult:
    import pyarrow as pa

    if isinstance(answer, pa.RecordBatch):
        answer = pa.Table.from_batches([answer])
    if not isinstance(answer, (pa.Table, pa.Array, pa.ChunkedArray)):
        raise DataError(f"{name} returned a {type(answer).__name__}, not an Arrow table or array")
    if len(answer) != table.num_rows:
        raise DataError(
            f"{name} returned {counted(len(answer), 'row')} for {table.num_rows:,}: to filter rows "
            "return booleans, to make "
            "new rows write a function of one row"
        )
    if isinstance(answer, pa.Table):
        return _added(table, answer, name)
    if pa.types.is_boolean(answer.type):
        if answer.null_count:
            errors = [f"{name} returned null" if value is None else None for value in answer.to_pylist()]
            return TableResult(errors=errors, kept=_flags(answer), rule="map: returned false")
        return TableResult(kept=_flags(answer), rule="map: returned false")
    return TableResult(columns={name: answer})


def _flags(answer: pa.Array | pa.ChunkedArray) -> Any:
    import pyarrow.compute as pc

    return pc.fill_null(answer, False).to_numpy(zero_copy_only=False)


def _added(table: pa.Table, answer: pa.Table, name: str) -> TableResult:
    columns = {}
    for column in answer.column_names:
        unchanged = column in table.column_names and answer[column].equals(table[column])
        if column.startswith("_") and not unchanged:
            raise DataError(
                f"{name} changed the column {column!r} (other rows, or another order): names that "
                "start with '_' "
                "are reserved"
            )
        if not unchanged:
            columns[column] = answer[column]
    return TableResult(columns=columns)
