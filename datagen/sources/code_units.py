"""Functions, classes and blocks of source files in any language that tree-sitter parses."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Unit: TypeAlias = Literal["function", "class", "block"]

#: language -> the endings of its files. The names are those of tree-sitter-language-pack.
LANGUAGES: dict[str, tuple[str, ...]] = {
    "bash": (".sh", ".bash"), "c": (".c", ".h"), "cpp": (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"),
    "csharp": (".cs",), "dart": (".dart",), "elixir": (".ex", ".exs"), "erlang": (".erl",),
    "fortran": (".f90", ".f95"), "go": (".go",), "haskell": (".hs",), "java": (".java",),
    "javascript": (".js", ".jsx", ".mjs", ".cjs"), "julia": (".jl",), "kotlin": (".kt", ".kts"),
    "lua": (".lua",), "ocaml": (".ml",), "perl": (".pl", ".pm"), "php": (".php",), "python": (".py",),
    "r": (".r", ".R"), "ruby": (".rb",), "rust": (".rs",), "scala": (".scala",), "sql": (".sql",),
    "swift": (".swift",), "tsx": (".tsx",), "typescript": (".ts", ".mts", ".cts"), "zig": (".zig",),
}  # fmt: skip
_OF_ENDING = {ending: language for language, endings in LANGUAGES.items() for ending in endings}
#: The grammars name the same things differently.
_FUNCTIONS = frozenset({
    "function_definition", "function_declaration", "function_item", "generator_function_declaration",
    "method", "singleton_method", "method_definition", "method_declaration", "constructor_declaration",
    "subroutine_declaration_statement", "value_definition", "fun_decl", "function_clause",
})  # fmt: skip
_CLASSES = frozenset({
    "class", "class_definition", "class_declaration", "class_specifier", "struct_specifier", "struct_item",
    "struct_declaration", "enum_item", "enum_declaration", "trait_item", "trait_definition", "impl_item",
    "interface_declaration", "record_declaration", "object_definition", "object_declaration",
    "protocol_declaration", "type_spec",
})  # fmt: skip
#: Statements that give a function its name: `const f = () => …`, `f <- function() …`.
_ASSIGNMENTS = frozenset({"lexical_declaration", "variable_declaration", "binary_operator"})
_ANONYMOUS = frozenset({"arrow_function", "function_expression", "function_definition"})
#: They enclose one definition, and belong to it.
_WRAPPERS = frozenset(
    {"decorated_definition", "export_statement", "template_declaration", "type_declaration"}
)
_NAMES = re.compile(r"identifier$|^(?:name|word|bareword|constant|variable|value_name)$")
_REMARKS = re.compile(r"comment|^attribute_item$|^haddock$")


@dataclass(frozen=True, slots=True)
class CodeUnit:
    """A piece of a file: whole lines, dedented. ``start``, ``stop``: its first and last line, from 1."""

    kind: Unit
    name: str | None
    source: str
    start: int
    stop: int


def language_of(path: str) -> str | None:
    """The language of a file, by its ending; None if it is none of ``LANGUAGES``."""
    return _OF_ENDING.get(PurePosixPath(path).suffix)


def units(source: str, language: str, kinds: Sequence[Unit], most_lines: int) -> Iterator[CodeUnit]:
    """The units of a file that parse, in the order of their lines.

    A function in a function is a part of it; a method is a function of its own, beside its class. A unit has
    the comments directly above it. A block is as many statements of the top level as ``most_lines`` hold.
    """
    root = _parser(language)(source.encode("utf-8", "replace")).root_node
    lines = source.split("\n")
    found = [
        *_definitions(root, lines, kinds),
        *(_blocks(root, lines, most_lines) if "block" in kinds else ()),
    ]
    yield from sorted(found, key=lambda unit: (unit.start, -unit.stop))


@cache
def _parser(language: str) -> Callable[[bytes], Any]:
    from tree_sitter_language_pack import get_parser

    parse: Callable[[bytes], Any] = get_parser(language).parse  # type: ignore[arg-type]
    return parse


def _definitions(node: Any, lines: Sequence[str], kinds: Sequence[Unit]) -> Iterator[CodeUnit]:
    waiting = [node]
    while waiting:
        each = waiting.pop()
        kind = _kind(each)
        if kind is not None and kind in kinds and not each.has_error:
            outer = each.parent if each.parent is not None and each.parent.type in _WRAPPERS else each
            first, last = _first_row(outer), _last_row(outer)
            yield _unit(kind, _name(each), lines, first, last)
        if kind != "function":
            waiting += each.named_children


def _kind(node: Any) -> Literal["function", "class"] | None:
    if node.type in _ASSIGNMENTS:
        return "function" if _assigned(node) is not None else None
    if node.type in _FUNCTIONS and node.parent is not None and node.parent.type not in _ASSIGNMENTS:
        return "function"
    # `struct point p;` names a type, and defines none.
    return "class" if node.type in _CLASSES and node.named_child_count > 1 else None


def _assigned(node: Any) -> Any:
    """The function that a statement assigns, if it assigns one."""
    if node.type == "binary_operator":
        value = node.child_by_field_name("rhs")
        return value if value is not None and value.type in _ANONYMOUS else None
    for declarator in node.named_children:
        value = declarator.child_by_field_name("value") if declarator.type == "variable_declarator" else None
        if value is not None and value.type in _ANONYMOUS:
            return value
    return None


def _name(node: Any) -> str | None:
    """The name that a node defines: in its field `name`, within its declarator, or its first identifier."""
    while node is not None:
        named = node.child_by_field_name("name")
        if named is not None:
            return str(named.text.decode("utf-8", "replace"))
        inner = node.child_by_field_name("declarator") or node.child_by_field_name("lhs")
        if inner is None:
            inner = next((each for each in node.named_children if _NAMES.search(each.type)), None)
            inner = inner or next(iter(node.named_children), None)
        if inner is None or _NAMES.search(inner.type):
            return None if inner is None else str(inner.text.decode("utf-8", "replace"))
        node = inner
    return None


def _first_row(node: Any) -> int:
    """The row of a node, or of the comments and attributes directly above it."""
    first, before = node.start_point[0], node.prev_named_sibling
    while before is not None and _REMARKS.search(before.type) and _last_row(before) in (first - 1, first):
        first, before = before.start_point[0], before.prev_named_sibling
    return int(first)


def _last_row(node: Any) -> int:
    row, column = node.end_point
    return int(row if column else max(row - 1, node.start_point[0]))


def _blocks(root: Any, lines: Sequence[str], most: int) -> Iterator[CodeUnit]:
    first: int | None = None
    last = -1
    for node in root.named_children:
        start, stop = node.start_point[0], _last_row(node)
        fits = not node.has_error and stop - start < most
        if first is not None and (not fits or stop - first >= most):
            yield _unit("block", None, lines, first, last)
            first = None
        if fits:
            first, last = (start if first is None else first), stop
    if first is not None:
        yield _unit("block", None, lines, first, last)


def _unit(kind: Unit, name: str | None, lines: Sequence[str], first: int, last: int) -> CodeUnit:
    source = textwrap.dedent("\n".join(lines[first : last + 1])).rstrip() + "\n"
    return CodeUnit(kind, name, source, first + 1, last + 1)
