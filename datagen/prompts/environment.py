"""Jinja in a box: immutable, no private attributes, no imports, no chance, and output of bounded size.

A row's values are only ever context: template syntax inside them is printed, never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ...pipelines.errors import DataError

#: Characters that one prompt may have.
LIMIT = 1_000_000

#: What could load other files, or double a text again and again without a size to check.
_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from … import",
    nodes.Extends: "extends",
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.AssignBlock: "set … endset (write {% set name = value %})",
    nodes.FilterBlock: "filter … endfilter (write {{ value | filter }})",
    nodes.Concat: "~ (write {{ a }}{{ b }})",
}
#: Filters and functions whose result is random, or whose size is an argument.
_LEFT_OUT = (
    "random",
    "center",
    "format",
    "xmlattr",
    "urlize",
    "pprint",
    "wordwrap",
    "indent",
    "filesizeformat",
)
_FUNCTIONS = ("range", "dict")
_INFLATING = frozenset(
    {
        "ljust",
        "rjust",
        "center",
        "zfill",
        "expandtabs",
        "format",
        "format_map",
        "replace",
        "join",
        "translate",
    }
)


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """The environment in which every prompt is compiled and rendered."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False)
        self.globals = {name: self.globals[name] for name in _FUNCTIONS}
        for name in _LEFT_OUT:
            self.filters.pop(name, None)
        self.filters["join"] = _bounded_join
        self.filters["replace"] = _bounded_replace
        self.filters["json"] = _json

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for kind, written in _REFUSED.items():
            found = tree.find(kind)
            if found is not None:
                raise SecurityError(f"line {found.lineno}: templates have no {written}")
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        inflates = isinstance(obj, str) and attr in _INFLATING
        return not attr.startswith("_") and not inflates and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """No ``str.format`` at all: its widths make texts of any length out of nothing."""
        return

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise SecurityError(f"templates have no {operator} of this kind: compute it in a step before")
        if operator == "*":
            sized, times = (left, right) if hasattr(left, "__len__") else (right, left)
            if hasattr(sized, "__len__") and isinstance(times, int) and len(sized) * times > LIMIT:
                raise SecurityError(f"a text or list of more than {LIMIT:,} items")
        if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            _bounded(len(left) + len(right))
        return super().call_binop(context, operator, left, right)


def compiled(source: str, name: str) -> Template:
    """The template, ready to render. Raises DataError, naming the line, where it cannot be."""
    try:
        return PromptEnvironment().from_string(source)
    except (TemplateError, RecursionError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{name}:{line}" if line else name
        raise DataError(f"template {place}: {error}") from error


def rendered(template: Template, context: Mapping[str, Any], name: str) -> str:
    """The prompt. Raises DataError for an undefined name, a refused operation or too long a text."""
    pieces: list[str] = []
    length = 0
    try:
        for piece in template.generate(dict(context)):
            length += len(piece)
            _bounded(length)
            pieces.append(piece)
    except Exception as error:  # a filter may raise anything over hostile values
        raise DataError(f"template {name}: {_reason(error)}") from error
    return "".join(pieces)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"


def _bounded(length: int) -> None:
    if length > LIMIT:
        raise SecurityError(f"the text would be longer than {LIMIT:,} characters")


def _bounded_join(value: Any, separator: str = "", attribute: str | None = None) -> str:
    """Jinja's ``join``, of a result of bounded size."""
    items = [str(item[attribute] if attribute is not None else item) for item in value]
    _bounded(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def _bounded_replace(value: Any, old: str, new: str) -> str:
    """Jinja's ``replace``, of a result of bounded size."""
    text = str(value)
    _bounded(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def _json(value: Any, indent: int | None = None) -> str:
    """JSON text as models know it: no HTML escapes, letters as they are."""
    text = json.dumps(value, ensure_ascii=False, indent=min(indent, 8) if indent else None, default=str)
    _bounded(len(text))
    return text
