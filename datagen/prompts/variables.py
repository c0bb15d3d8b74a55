"""The variables that a template requires."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import meta, nodes

from .environment import PromptEnvironment


def required(source: str) -> frozenset[str]:
    """Return the names that a template prints, loops over or tests for every row.

    Names that it checks (``is defined``, ``default``) or that only one branch uses are not included. Raises
    jinja2.TemplateError if the template cannot be parsed.
    """
    environment = PromptEnvironment()
    tree = environment.parse(source)
    free = meta.find_undeclared_variables(tree) - set(environment.globals)
    used = set(_always(tree))
    asked = {
        node.node.name
        for node in tree.find_all((nodes.Test, nodes.Filter))
        if node.name in ("defined", "undefined", "default", "d") and isinstance(node.node, nodes.Name)
    }
    return frozenset((free & used) - asked)


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
