"""Finds mistakes in the types of an expression by binding it to an empty table, before any row is there.

DuckDB binds each part of an expression: it chooses the functions for the types of their arguments. A part is
only bound if the types of all columns in it are known, so nothing is refused that may be right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .sql_functions import is_aggregate
from .sql_names import references
from .sql_tree import TABLE, Node, arguments_of, function_name, text_literal, text_of, walk
from .sql_types import readable_type

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

#: DuckDB's types to which any text can be cast.
_TAKES_TEXT = ("VARCHAR", '"NULL"', "BLOB")


class Binding:
    """An empty table of known types in a database. ``types``: Arrow types by column.

    ``unreadable``: by column in lower case, why SQL cannot read it.
    """

    def __init__(self, database: DuckDBPyConnection, types: Mapping[str, pa.DataType]) -> None:
        import pyarrow as pa

        self._database = database
        self._known: set[str] = set()
        self.unreadable: dict[str, str] = {}
        columns = {}
        for name, kind in types.items():
            read_as = readable_type(kind)
            if read_as is None:
                said = f"column '{name}' holds {kind}, which expressions cannot read"
                self.unreadable[name.lower()] = said
            elif name.lower() not in self._known:
                columns[name] = pa.nulls(0, read_as)
                self._known.add(name.lower())
        # A table needs a column; no expression can have this name. `pa.array` would import pandas.
        database.register(TABLE, pa.table({**columns, "_": pa.nulls(0)}))

    def arrow_type(self, tree: Node) -> pa.DataType | None:
        """The Arrow type of an expression's values; None if it is not known, or if it does not bind."""
        kind = self.kind(tree)
        if kind is None or kind == '"NULL"':
            return None
        return self._database.sql(f"SELECT NULL::{kind} AS x").to_arrow_table().schema.field(0).type

    def kind(self, tree: Node) -> str | None:
        """DuckDB's type of an expression's values; None if it is not known, or if it does not bind."""
        bound = self._bound(tree) if self._is_known(tree) else None
        return bound if bound is not None and not bound.startswith(_ERROR) else None

    def mistakes(self, tree: Node) -> Iterator[str]:
        """Why parts of an expression do not fit the columns, innermost parts first."""
        tree = _without_thresholds(tree)
        for node in walk(tree):
            for word in (each.lower() for each in node.get("column_names") or ()):
                if word in self.unreadable:
                    yield self.unreadable[word]
                    return
            if is_aggregate(node):
                yield f"'{text_of(self._database, node)}': {AGGREGATE}"
                return
        yield from dict.fromkeys(self._mistakes(tree))

    def _mistakes(self, tree: Node) -> Iterator[str]:
        inner = [each for part in _parts(tree) for each in self._mistakes(part)]
        yield from inner
        if inner or not self._is_known(tree):
            return
        bound = self._bound(tree)
        text = text_of(self._database, tree)
        if bound is not None and bound.startswith(_ERROR):
            yield f"'{text}': {bound.removeprefix(_ERROR)}"
            return
        for value, other in _compared_with_text(tree):
            kind = self.kind(other)
            if kind is not None and kind not in _TAKES_TEXT and self._refuses(value, kind):
                yield f"'{text}': the text '{value}' is no {kind}"

    def _is_known(self, tree: Node) -> bool:
        """Whether the types of all columns in an expression are known."""
        for node in references(tree):
            path = [name.lower() for name in node["column_names"]]
            path = path[1:] if path[0] == TABLE and path[0] not in self._known else path
            if not path or path[0] not in self._known:
                return False
        return True

    def _bound(self, tree: Node) -> str | None:
        """DuckDB's type of an expression, or ``_ERROR`` and why there is none; None if this shows nothing."""
        import duckdb

        try:
            query = f"SELECT ({text_of(self._database, tree)}\n) FROM {TABLE}"
            kind = str(self._database.sql(query).types[0])
            if any(function_name(node).startswith(_PATTERNS) for node in walk(tree)):
                self._database.execute(query)
            return kind
        except (
            duckdb.BinderException,
            duckdb.CatalogException,
            duckdb.ConversionException,
            duckdb.InvalidInputException,
        ) as error:
            reason = str(error).strip().splitlines()[0]
            return _ERROR + (AGGREGATE if "GROUP BY" in reason else reason.partition(": ")[2] or reason)
        except duckdb.Error:
            return None

    def _refuses(self, text: str, kind: str) -> bool:
        """Whether a text cannot be cast to a type."""
        import duckdb

        try:
            self._database.execute(f"SELECT CAST(? AS {kind})", [text]).fetchall()
        except duckdb.ConversionException:
            return True
        except duckdb.Error:
            return False
        return False


_ERROR = "error: "
#: Classes of nodes that have no value by themselves, or always one.
_NO_VALUE = ("LAMBDA", "CONSTANT", "TYPE")
#: Functions with a pattern that DuckDB reads only when a query runs.
_PATTERNS = ("regexp_", "strftime", "strptime", "try_strptime")
AGGREGATE = "an aggregate over all rows needs OVER (), as in 'x > avg(x) OVER ()'"


def _parts(tree: object) -> Iterator[Node]:
    """The parts of an expression that have a value by themselves; not those of a lambda."""
    inside = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for each in inside:
        if isinstance(each, dict) and "class" in each:
            if each["class"] not in _NO_VALUE:
                yield each
        else:
            yield from _parts(each)


def _compared_with_text(tree: Node) -> Iterator[tuple[str, Node]]:
    """(text, the expression it is compared with) of each text constant in a comparison."""
    if tree.get("class") == "COMPARISON":
        sides = [tree["left"], tree["right"]]
        pairs = [(sides[0], sides[1]), (sides[1], sides[0])]
    elif tree.get("class") == "BETWEEN":
        pairs = [(tree["lower"], tree["input"]), (tree["upper"], tree["input"])]
    elif tree.get("type") in ("COMPARE_IN", "COMPARE_NOT_IN"):
        first, *others = tree["children"]
        pairs = [(other, first) for other in others]
    else:
        return
    for constant, other in pairs:
        text = text_literal(constant)
        if text is not None and text_literal(other) is None:
            yield text, other


def _without_thresholds(tree: Node) -> Node:
    """The tree with ``quantile(0.2)`` as the number 0.2, and ``quantile(x, 0.2)`` as a number of x."""

    def replaced(part: object) -> object:
        if isinstance(part, list):
            return [replaced(each) for each in part]
        if not isinstance(part, dict):
            return part
        if part.get("class") == "FUNCTION" and function_name(part) == "quantile":
            return replaced(arguments_of(part)[0]) if arguments_of(part) else part
        return {key: replaced(value) for key, value in part.items()}

    made = replaced(tree)
    assert isinstance(made, dict)
    return made
