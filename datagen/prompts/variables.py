"""Which variables a template cannot do without."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import meta, nodes

from .environment import PromptEnvironment


def required(source: str) -> frozenset[str]:
    """The names that a template prints, loops over or tests whatever the row is.

    Not those that it asks about (``is defined``, ``default``), nor what only a branch of it uses. Raises
    jinja2.TemplateError where the template cannot be parsed.
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
    """The names below a node that are looked up whatever the row is."""
    if isinstance(node, nodes.Name) and node.ctx == "load":
        yield node.name
    for field, value in node.iter_fields():
        if _is_branch(node, field):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, nodes.Node):
                yield from _always(child)


def _is_branch(node: nodes.Node, field: str) -> bool:
    """May what stands in this field of a node be passed over?"""
    if isinstance(node, (nodes.If, nodes.CondExpr)):
        return field != "test"
    if isinstance(node, nodes.For):
        return field != "iter"
    return isinstance(node, (nodes.And, nodes.Or)) and field == "right"
