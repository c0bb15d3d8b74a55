"""The names in an expression: the columns that it reads, and the parameters of its lambdas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...contracts.errors import DataError
from ...contracts.mistakes import Collected, ColumnError
from ...contracts.nearest import did_you_mean
from .sql_functions import catalog
from .sql_tree import CLOCK_WORDS, TABLE, Node, arguments_of, function_name, walk

#: What DuckDB calls ``x -> y``. Outside of a function that takes a lambda it reads JSON.
_ARROW = "SINGLE_ARROW"


def references(tree: object, parameters: frozenset[str] = frozenset()) -> Iterator[Node]:
    """Yield the nodes that name columns: those of a tree, or of a list of trees, but no lambda parameters.

    ``parameters``: the names, in lower case, that the lambdas around the tree have.
    """
    if isinstance(tree, list):
        for part in tree:
            yield from references(part, parameters)
    if not isinstance(tree, dict):
        return
    if tree.get("class") == "COLUMN_REF" and str(tree["column_names"][0]).lower() not in parameters:
        yield tree
    lambdas = _lambdas(tree)
    for each in lambdas:
        yield from references(each["expr"], parameters | _parameters(each))
    for part in _without(tree, lambdas):
        yield from references(part, parameters)


def arrow_lambdas(tree: object) -> Iterator[str]:
    """Yield the parameters of each lambda that is written ``x -> y``, as a reader would write them."""
    for node in walk(tree):
        for each in _lambdas(node):
            if each.get("syntax_type") == _ARROW:
                yield ", ".join(sorted(_parameters(each)))


def _lambdas(node: Node) -> list[Node]:
    """The lambdas that a node is given as a function."""
    if node.get("class") == "LAMBDA" and node.get("syntax_type") != _ARROW:
        return [node]
    known = catalog().get(function_name(node)) if node.get("class") == "FUNCTION" else None
    if known is None or not known.takes_lambda:
        return []
    arrows = [each for each in arguments_of(node) if each.get("class") == "LAMBDA"]
    return [each for each in arrows if each.get("syntax_type") == _ARROW]


def _without(node: Node, lambdas: Sequence[Node]) -> Iterator[object]:
    """The parts of a node, without its lambdas."""
    if any(each is node for each in lambdas):
        return
    for value in node.values():
        if isinstance(value, list):
            wrapped = [each.get("expression", each) if isinstance(each, dict) else each for each in value]
            yield [each for each in wrapped if not any(each is one for one in lambdas)]
        else:
            yield value


def _parameters(node: Node) -> frozenset[str]:
    """The names of a lambda's parameters, in lower case."""
    names = (name for part in walk(node["lhs"]) for name in part.get("column_names", []))
    return frozenset(str(name).lower() for name in names)


def refuse_unknown_columns(conjuncts: list[Node], columns: Sequence[str], expression: str, who: str) -> None:
    """Raise DataError, suggesting the nearest name, for each name that is no column.

    The parameters of a lambda are known inside of it.
    """
    known = {name.lower() for name in columns} | {TABLE}
    with Collected() as found:
        for node in references(conjuncts):
            name = node["column_names"][0]
            if name.lower() in known:
                continue
            if name.lower() in CLOCK_WORDS:
                found.add(_reads_the_clock(name.lower(), expression, who))
                continue
            meant = did_you_mean(name, columns) or " (text goes in single quotes)."
            told = f"{who}: no column '{name}' in '{expression}'{meant}"
            found.add(ColumnError(f"{told} The columns are: {', '.join(columns)}", name))


def refuse_clock_words(tree: Node, expression: str, who: str) -> None:
    """Raise DataError if a name reads the clock, even while the columns are not known."""
    for node in references(tree):
        word = str(node["column_names"][0]).lower()
        if word in CLOCK_WORDS:
            raise _reads_the_clock(word, expression, who)


def _reads_the_clock(word: str, expression: str, who: str) -> DataError:
    return DataError(
        f"{who}: it must give the same rows every time, and {word} does not: found '{expression}'"
    )


def named_columns(tree: object, columns: Sequence[str], who: str) -> list[str]:
    """Return the columns that a tree may refer to.

    These are its names, the parts of names (``rows.score``, ``nested.depth``, ``text.upper()``), and all
    columns if it contains the whole row. Raises DataError if two of them differ only in case.
    """
    found = _named(tree, columns)
    known: dict[str, str] = {}
    for name in found:
        other = known.setdefault(name.lower(), name)
        if other != name:
            raise DataError(
                f"{who}: the columns '{other}' and '{name}' differ only in case, which SQL ignores: "
                "rename one"
            )
    return found


def _named(tree: object, columns: Sequence[str]) -> list[str]:
    words: set[str] = set()
    for node in walk(tree):
        path = node.get("column_names") or []
        if [word.lower() for word in path] == [TABLE]:
            return list(columns)
        words |= {str(word).lower() for word in (*path, node.get("schema"), node.get("catalog")) if word}
    return [name for name in columns if name.lower() in words]
