"""The columns of each step's rows and their types, as far as they are known before the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.operators import Operator

if TYPE_CHECKING:
    import pyarrow as pa

#: The columns that Gristmill adds to every row.
ENGINES_OWN = ("_id", "_parents")


@dataclass(frozen=True, slots=True)
class Schema:
    """``columns``: None if they are not known. ``types``: Arrow types of those columns whose type is known.

    ``makers``: the step that last wrote a column, where this is known. ``sparse``: columns that some
    of the rows may lack.
    """

    columns: tuple[str, ...] | None = None
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    makers: Mapping[str, str] = field(default_factory=dict)
    sparse: frozenset[str] = frozenset()

    def sparse_types(self) -> dict[str, pa.DataType]:
        """The types of the sparse columns, where they are known."""
        return {name: kind for name, kind in self.types.items() if name in self.sparse}


def coming(given: Sequence[Schema]) -> Schema:
    """The rows of several steps, one after another. What has no rows has no columns.

    Raises DataError if the steps hold a column as types that have nothing in common.
    """
    known = [each for each in given if each.columns is not None]
    columns: tuple[str, ...] | None = None
    if any(each.columns for each in known) and len(known) == len(given):
        columns = tuple(
            dict.fromkeys([*ENGINES_OWN, *(name for each in known for name in each.columns or ())])
        )
    types, makers = {}, {}
    for name in dict.fromkeys(name for each in given for name in each.types):
        having = [each for each in given if each.columns is None or name in each.columns]
        if all(name in each.types for each in having):
            kind = _common([each.types[name] for each in having], name)
            if kind is not None:
                types[name] = kind
    if len(given) == 1:
        makers = dict(given[0].makers)
    return Schema(columns, types, makers, frozenset().union(*(each.sparse for each in given)))


def _common(kinds: Sequence[pa.DataType], name: str) -> pa.DataType | None:
    """The type of a column of several inputs; None if it depends on the run. Raises DataError."""
    if all(kind == kinds[0] for kind in kinds):
        return kinds[0]
    import pyarrow as pa

    try:
        schemas = [pa.schema([(name, kind)]) for kind in kinds]
        return pa.unify_schemas(schemas, promote_options="permissive").field(name).type
    except pa.ArrowException:
        raise DataError(
            f"the inputs hold column {name!r} as {' and as '.join(map(str, dict.fromkeys(kinds)))}: make "
            f'them one type, for example with a step `compute: {{{name}: "CAST({name} AS VARCHAR)"}}` after '
            "one of them"
        ) from None


def made(step: str, operator: Operator, given: Schema) -> Schema:
    """The rows of a step, from those that come to it. Raises DataError if a source cannot be read."""
    columns = operator.makes_columns(None if given.columns is None else list(given.columns))
    types = dict(operator.makes_types(given.types))
    makers = dict.fromkeys(types, step)
    own = own_columns(operator)
    sparse = (given.sparse - own - types.keys()) | frozenset(operator.sparse_columns())
    if columns is None:
        return Schema(None, types, makers, sparse)
    makers |= dict.fromkeys(own, step)
    for name in columns:
        if name not in own and name not in types:
            if name in given.types:
                types[name] = given.types[name]
            if name in given.makers:
                makers[name] = given.makers[name]
    return Schema(tuple(dict.fromkeys(columns)), types, makers, sparse)


def own_columns(operator: Operator) -> frozenset[str]:
    """The columns that a step writes itself, as far as known."""
    return frozenset(operator.makes_columns([]) or ())
