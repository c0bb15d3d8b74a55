"""Sandboxed Jinja: immutable, deterministic, without private attributes or imports, and with resource limits.

The limits are on time, sizes and output. The values of a row are only context: template syntax in them is
printed, never run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ...contracts.errors import DataError
from .metering import LIMIT, begin, bounded, checked, shown, stepped, weight

#: Syntax that could load other files, or double a text repeatedly without a check of its size.
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
#: Filters and functions with random results, or whose size is an argument.
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
#: Filters that make a text of their value, and would make "None" of a null.
_OF_TEXT = (
    "trim", "lower", "upper", "string", "replace", "capitalize", "title", "striptags", "e", "escape",
    "forceescape", "truncate", "urlencode", "wordcount",
)  # fmt: skip
#: Methods of texts, bytes and numbers whose argument determines the size of the result.
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
        "to_bytes",
        "scaleb",
        "shift",
        "rotate",
    }
)
#: Wrappers of loop values and lists; no template can write such a name.
_LOOP, _LIST = " loop", " list"
_NUMBERS = (int, float, Decimal)
#: Maximum digits of ``round``, and maximum parts of ``slice`` and ``batch``.
_DIGITS, _PARTS = 100, 10_000
#: Maximum characters of ``striptags``: its time is quadratic.
_STRIPPED = 100_000


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """The environment in which every prompt is compiled and rendered."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        # The optimizer would evaluate a chain of filters over a constant again for each filter.
        super().__init__(undefined=StrictUndefined, optimized=False, finalize=_no_null)
        self.globals = {name: self.globals[name] for name in _FUNCTIONS}
        for name in _LEFT_OUT:
            self.filters.pop(name, None)
        self.filters |= {
            "join": _bounded_join,
            "replace": _bounded_replace,
            "json": _json,
            "sum": _sum,
        }
        for name, most in (("round", _DIGITS), ("slice", _PARTS), ("batch", _PARTS), ("tojson", 8)):
            self.filters[name] = _small_number(self.filters[name], name, most)
        for name in ("string", "tojson", "striptags", "urlencode"):
            self.filters[name] = _small_input(
                self.filters[name], name, _STRIPPED if name == "striptags" else LIMIT
            )
        for name in _OF_TEXT:
            self.filters[name] = _of_text(self.filters[name])
        self.filters = {name: _checking(function) for name, function in self.filters.items()}
        self.filters |= {_LOOP: stepped, _LIST: checked}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for line, said in refused(tree):
            raise SecurityError(f"line {line}: {said}")
        for loop in tree.find_all(nodes.For):
            loop.iter = _around(_LOOP, loop.iter)
        _count_lists(tree)
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        inflates = attr in _INFLATING and not isinstance(obj, dict)
        return not attr.startswith("_") and not inflates and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Disable ``str.format``: its widths create texts of any length."""
        return

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        return checked(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or (operator == "%" and isinstance(left, (str, bytes))):
            raise SecurityError(f"templates have no {operator} of this kind: compute it in an earlier step")
        if operator == "*":
            sized, times = (left, right) if hasattr(left, "__len__") else (right, left)
            if hasattr(sized, "__len__") and isinstance(times, int) and len(sized) * times > LIMIT:
                raise SecurityError(f"a text or list of more than {LIMIT:,} items")
        if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            bounded(len(left) + len(right))
        return checked(super().call_binop(context, operator, left, right))


def refused(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    """Yield (line, message) of each construct that no template may contain."""
    for kind, written in _REFUSED.items():
        for found in tree.find_all(kind):
            yield found.lineno, f"templates have no {written}"


def _no_null(value: Any) -> Any:
    if value is None:
        raise SecurityError("it would print a null: give a replacement, as in {{ name or '' }}")
    return shown(value)


def _around(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


def _count_lists(node: nodes.Node) -> None:
    """Wrap every list, tuple and dict that a template builds in a counter, innermost first."""
    for field, value in node.iter_fields():
        children = value if isinstance(value, list) else [value]
        for place, child in enumerate(children):
            if not isinstance(child, nodes.Node):
                continue
            _count_lists(child)
            if (
                isinstance(child, (nodes.List, nodes.Tuple, nodes.Dict))
                and getattr(child, "ctx", "load") == "load"
            ):
                if isinstance(value, list):
                    value[place] = _around(_LIST, child)
                else:
                    setattr(node, field, _around(_LIST, child))


def compiled(source: str, name: str) -> Template:
    """Compile a template. Raises DataError, naming the line, if it does not compile."""
    try:
        begin()
        return PromptEnvironment().from_string(source)
    except (SyntaxError, RecursionError):
        raise DataError(f"template {name}: it is nested too deeply") from None
    except (TemplateError, MemoryError, ValueError, OverflowError) as error:
        line = getattr(error, "lineno", None)
        place = f"{name}:{line}" if line else name
        raise DataError(f"template {place}: {error}") from error


def rendered(template: Template, context: Mapping[str, Any], name: str) -> str:
    """Render the prompt.

    Raises DataError for an undefined name, a refused operation, or an exceeded limit."""
    pieces: list[str] = []
    length = 0
    try:
        begin()
        for piece in template.generate(dict(context)):
            length += len(piece)
            if length > LIMIT:
                bounded(length)
            pieces.append(piece)
    except Exception as error:  # a filter may raise any exception for hostile values
        raise DataError(f"template {name}: {_reason(error)}") from error
    return "".join(pieces)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"


def _checking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a filter so that its results are counted."""

    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        return checked(function(*args, **kwargs))

    return counted


def _of_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a filter of texts so that it refuses a null."""

    @wraps(function)
    def refusing(*args: Any, **kwargs: Any) -> Any:
        _no_null(args[hasattr(function, "jinja_pass_arg")])
        return function(*args, **kwargs)

    return refusing


def _small_number(function: Callable[..., Any], name: str, most: int) -> Callable[..., Any]:
    """Wrap a filter whose numeric arguments determine its work."""

    @wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        value = 1 + hasattr(function, "jinja_pass_arg")
        for number in (*args[value:], *kwargs.values()):
            if isinstance(number, int) and abs(number) > most:
                raise SecurityError(f"{name} accepts numbers up to {most:,}: found {number}")
        return function(*args, **kwargs)

    return limited


def _small_input(function: Callable[..., Any], name: str, most: int) -> Callable[..., Any]:
    """Wrap a filter that is slow for long texts, or that prints its whole value."""

    @wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        if weight(args[hasattr(function, "jinja_pass_arg")]) > most + 1:
            raise SecurityError(f"{name} accepts a text of up to {most:,} characters")
        return function(*args, **kwargs)

    return limited


def _bounded_join(value: Any, separator: str = "", attribute: str | None = None) -> str:
    """Jinja's ``join`` with a bounded result."""
    items = [str(_no_null(item[attribute] if attribute is not None else item)) for item in value]
    bounded(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def _bounded_replace(value: Any, old: str, new: str) -> str:
    """Jinja's ``replace`` with a bounded result."""
    text = str(shown(value))
    bounded(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def _sum(value: Any, attribute: str | None = None, start: Any = 0) -> Any:
    """Jinja's ``sum``, for numbers only."""
    total = start
    for item in value:
        number: Any = item if attribute is None else item[attribute]
        found = next((each for each in (number, total) if not isinstance(each, _NUMBERS)), None)
        if found is not None:
            raise SecurityError(f"sum requires numbers: found {type(found).__name__}")
        total = checked(total + number)
    return total


def _json(value: Any, indent: int | None = None) -> str:
    """JSON text without HTML or Unicode escapes."""
    shown(value)
    return json.dumps(value, ensure_ascii=False, indent=min(indent, 8) if indent else None, default=str)
