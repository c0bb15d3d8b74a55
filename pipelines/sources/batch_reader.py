"""Layouts of Arrow tables: the columns that take the place of those of a data set, and their types.

The types follow from those of the file: an example row is made of them, and read as its rows will be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...contracts.column_types import holds_text
from ...contracts.errors import DataError
from ...contracts.layouts import LAYOUTS, RowReader, unreadable_column
from ...contracts.turns import TOOLS
from .shape import Shapes
from .turn_texts import Values, columns_of_turns, examples_of_turns, no_values

if TYPE_CHECKING:
    import pyarrow as pa

#: The roles of an example's turns, of a conversation and of an answer: in messages, and in ShareGPT's turns.
_ROLES = (("user", "assistant", "tool"), ("assistant",))
_SAID_BY = (("human", "gpt", "function_call", "observation"), ("gpt",))
#: JSON text of a call, in the value of every turn of an example.
_VALUE = '{"name": "x", "arguments": {}}'


@dataclass(frozen=True)
class BatchReader:
    """Reads batches of one layout.

    ``takes``: the columns that are read. ``schema``: of what they become, and of the other columns.
    """

    name: str
    takes: frozenset[str]
    schema: pa.Schema
    shapes: Shapes
    where: str

    @classmethod
    def of(
        cls, schema: pa.Schema, reader: RowReader, where: str, values: Values = no_values
    ) -> BatchReader | None:
        """The reader of a file with this schema; None if nothing is to be replaced.

        ``values``: those of a text column, to see whether they are conversations as JSON text. Raises
        DataError if it cannot have the layout that was asked for.
        """
        for name in reader.layouts(schema.names):
            made = cls._of_layout(name, schema, reader, where, values)
            if made is not None:
                return None if _alike(made.schema, schema) else made
        if reader.form not in ("auto", "as_is"):
            held = ", ".join(f"{field.name} ({field.type})" for field in schema)
            raise DataError(
                f"{where}: the rows are not of the format {reader.form}: their columns are {held}; read them "
                "with `format: as_is`"
            )
        return None

    @classmethod
    def _of_layout(
        cls, name: str, schema: pa.Schema, reader: RowReader, where: str, values: Values
    ) -> BatchReader | None:
        import pyarrow as pa

        takes = [each for each in schema.names if each in (*LAYOUTS[name].takes, *TOOLS)]
        shapes = Shapes()
        spoken = columns_of_turns(schema, takes, values, some=reader.form == name)
        for example in _examples(schema, takes, spoken):
            made = LAYOUTS[name].read(example)
            if made is not None and reader.loses(example, made):
                return None
            if (wrong := unreadable_column(made or {})) is not None:
                raise DataError(
                    f"{where}: the turns of {wrong[0]!r} have contents that are no text: cast them to text, "
                    "or read the column with `format: as_is`"
                )
            shapes.add(made or {}, where)
        if not shapes.columns:
            return None
        own = shapes.schema()
        others = [field for field in schema if field.name not in takes]
        if {field.name for field in others} & set(own.names):
            return None
        return cls(name, frozenset(takes), pa.schema([*own, *others]), shapes, where)

    def read(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of the file with its columns replaced. Raises DataError for a row of another layout."""
        import pyarrow as pa

        taken = [name for name in batch.schema.names if name in self.takes]
        rows, places = [], []
        for number, row in enumerate(batch.select(taken).to_pylist()):
            known = {name: _pruned(value) for name, value in row.items() if value is not None}
            made = LAYOUTS[self.name].read(known)
            if made is None and known:
                made = self._left(known, number)
            rows.append(made or {})
            places.append(f"{self.where}, row {number:,} of a batch")
        names = [name for name in self.schema.names if name not in batch.schema.names or name in self.takes]
        own = self.shapes.batch(rows, pa.schema([self.schema.field(name) for name in names]), places)
        others = [name for name in self.schema.names if name not in names and name in batch.schema.names]
        arrays = [*own.columns, *(batch.column(name) for name in others)]
        return pa.RecordBatch.from_arrays(arrays, names=[*names, *others])

    def _left(self, known: Mapping[str, Any], number: int) -> dict[str, Any]:
        """A row that is not of the layout, as far as the columns of the others hold it. Raises DataError."""
        lost = [name for name, value in known.items() if not self._holds(name, value)]
        if lost:
            raise DataError(
                f"{self.where}: row {number:,} of a batch is not of the format {self.name}: its {lost[0]!r} "
                f"is {known[lost[0]]!r:.60}: correct it, or read the columns with `format: as_is`"
            )
        return dict(known)

    def _holds(self, name: str, value: object) -> bool:
        """Whether a column of the rows can hold a value of the file: a text is no conversation."""
        if name not in self.schema.names:
            return False
        return not isinstance(value, str) or holds_text(self.schema.field(name).type)


def _alike(one: pa.Schema, other: pa.Schema) -> bool:
    """Whether the schemas have the same columns of the same types, whatever the order of columns and keys."""
    same = set(one.names) == set(other.names)
    return same and all(_same(field.type, other.field(field.name).type) for field in one)


def _same(one: pa.DataType, other: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    if types.is_struct(one) and types.is_struct(other):
        return _alike(pa.schema(list(one)), pa.schema(list(other)))
    if any(is_list(one) and is_list(other) for is_list in (types.is_list, types.is_large_list)):
        return _same(one.value_type, other.value_type)
    texts = (pa.string(), pa.large_string())
    return bool(one == other) or (one in texts and other in texts)


def _pruned(value: Any) -> Any:
    """The value without the keys that only other rows have. Contents in parts keep them."""
    if isinstance(value, dict):
        return {
            key: inner if key == "content" else _pruned(inner)
            for key, inner in value.items()
            if inner is not None
        }
    return [_pruned(inner) for inner in value] if isinstance(value, list) else value


def _examples(
    schema: pa.Schema, taken: Sequence[str], spoken: Mapping[str, Callable[[], Iterator[str]]]
) -> Iterator[dict[str, Any]]:
    """Rows with values of the types of the columns: with all that are taken, and without each of them.

    ``spoken``: the texts of columns of conversations.
    """
    for answer in (False, True):
        whole = {name: _example(schema.field(name).type, answer) for name in taken}
        if spoken:
            yield from examples_of_turns(whole, spoken)
            whole |= {name: next(texts()) for name, texts in spoken.items()}
        yield whole
        for name in taken:
            yield {other: value for other, value in whole.items() if other != name}


def _example(kind: pa.DataType, answer: bool, key: str = "") -> Any:
    """A value of the type. ``answer``: whether turns are those of an answer alone."""
    import pyarrow as pa

    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _example_items(kind.value_type, answer)
    if types.is_struct(kind):
        return {field.name: _example(field.type, answer, field.name) for field in kind}
    if types.is_string(kind) or types.is_large_string(kind):
        return {"value": _VALUE, "type": "text", "role": "assistant", "from": "gpt"}.get(key, "x")
    if types.is_boolean(kind):
        return True
    if types.is_integer(kind):
        return 1
    if types.is_floating(kind):
        return 0.5
    return None


def _example_items(kind: pa.DataType, answer: bool) -> list[Any]:
    import pyarrow as pa

    item = _example(kind, answer)
    if pa.types.is_list(kind):  # a pair of texts of a history
        return [item * 2 if len(item) == 1 else item]
    if isinstance(item, dict) and ("role" in item or "from" in item):
        key, roles = ("role", _ROLES[answer]) if "role" in item else ("from", _SAID_BY[answer])
        return [{**item, key: role} for role in roles]
    return [item]
