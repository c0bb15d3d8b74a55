"""The variables that a template requires."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import Environment, meta, nodes

from .environment import PromptEnvironment


def required(source: str) -> frozenset[str]:
    """Return the names that a template prints, loops over or tests for every row.

    Names that it checks (``is defined``, ``default``) or that only one branch uses are not included. Raises
    jinja2.TemplateError if the template cannot be parsed.
    """
    tree, free = _parsed(source)
    return frozenset((free & set(_always(tree))) - set(_optional(tree)))


def optional(source: str) -> frozenset[str]:
    """Return the names that only a branch of a template uses, and that it does not check."""
    tree, free = _parsed(source)
    return frozenset(free - set(_always(tree)) - set(_optional(tree)))


def _parsed(source: str) -> tuple[nodes.Template, set[str]]:
    """Return the tree of a template, and the names that it does not define."""
    environment = PromptEnvironment()
    # Not the environment's own parser, which refuses templates whose names are still of interest.
    tree = Environment().parse(source)
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        if node.name not in (environment.filters if isinstance(node, nodes.Filter) else environment.tests):
            node.name = "string"
    return tree, meta.find_undeclared_variables(tree) - set(environment.globals)


def _optional(tree: nodes.Template) -> Iterator[str]:
    """Yield the names that a template may do without, in doubt too many.

    These are the names that it sets itself, and names in tests (``is defined``), in arguments, in lists and
    in values that it sets: a template works if such a name is missing and its value is not used.
    """
    for name in tree.find_all(nodes.Name):
        if name.ctx != "load":
            yield name.name
    for node in tree.find_all(
        (nodes.Test, nodes.Filter, nodes.Call, nodes.Assign, nodes.List, nodes.Tuple, nodes.Dict)
    ):
        if isinstance(node, nodes.Filter) and node.name not in ("default", "d"):
            parts: list[nodes.Node] = [*node.args, *node.kwargs]
        elif isinstance(node, nodes.Call):
            parts = [*node.args, *node.kwargs]
        else:
            parts = [node]
        for part in parts:
            yield from (name.name for name in part.find_all(nodes.Name))
            if isinstance(part, nodes.Name):
                yield part.name


def _always(node: nodes.Node) -> Iterator[str]:
    """Yield the names below a node that are looked up for every row."""
    if isinstance(node, nodes.Name) and node.ctx == "load":
        yield node.name
    for field, value in node.iter_fields():
        if _is_branch(node, field):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, nodes.Node):
                yield from _always(child)


def _is_branch(node: nodes.Node, field: str) -> bool:
    """Whether this field of a node may be skipped at run time."""
    if isinstance(node, (nodes.If, nodes.CondExpr)):
        return field != "test"
    if isinstance(node, nodes.For):
        return field != "iter"
    return isinstance(node, (nodes.And, nodes.Or)) and field == "right"
