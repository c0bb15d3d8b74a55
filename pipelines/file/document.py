"""Parses YAML, keeps the line and column of every value, and collects all mistakes.

Plain scalars follow YAML 1.2: only ``true`` and ``false`` are booleans (``no`` is a string), ``1e-4`` is
a number, ``12:30`` is a string. A key is text, or a whole number as it is written. Anchors, aliases and merge
keys work within limits; tags do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, ClassVar, TypeAlias

import yaml

from ...contracts.errors import SpecError, SpecProblem
from ...contracts.nearest import brief
from .variable_uses import VariableUses
from .yaml_fixes import TEMPLATE, fix_of

Path: TypeAlias = tuple[str | int, ...]

MAX_BYTES = 4_000_000
MAX_DEPTH = 64
#: Maximum number of values after aliases are expanded; it stops a "billion laughs" attack.
MAX_VALUES = 50_000

_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")
}


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """A place in a file, or in a ``--set`` option given as ``file``."""

    file: str
    line: int
    column: int


def field_of(path: Path) -> str:
    """``("steps", "scored", "score", 0)`` as ``steps.scored.score[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


@dataclass
class Document:
    """Plain values, the place of every key and value, and the problems found so far."""

    file: str
    value: Any = None
    keys: dict[Path, SourcePosition] = field(default_factory=dict)
    values: dict[Path, SourcePosition] = field(default_factory=dict)
    problems: list[SpecProblem] = field(default_factory=list)
    #: For generated parts of the document: the path here -> the path as written in the file.
    written: dict[Path, Path] = field(default_factory=dict)
    #: The variables that values came from.
    uses: VariableUses = field(default_factory=VariableUses)
    #: Paths with a known mistake; consequences of it are not reported again.
    _blamed: set[Path] = field(default_factory=set)

    def mark(self, path: Path, *, key: bool = False) -> SourcePosition:
        """The place of the value (or key) at ``path``, or of the closest one that contains it."""
        if key and path in self.keys:
            return self.keys[path]
        for length in range(len(path), -1, -1):
            for places in (self.values, self.keys):
                if path[:length] in places:
                    return places[path[:length]]
        return SourcePosition(self.file, 1, 1)

    def blame(self, path: Path, message: str, *, key: bool = False, at: Path | None = None) -> None:
        """Record a mistake at ``path``, unless one is already known for a part of it.

        ``key``: point at the key, not at the value. ``at``: point there instead.
        """
        if self.wrong(path):
            return
        self._blamed.add(path)
        mark = self.mark(path if at is None else at, key=key)
        told = self.uses.told(path, message)
        self.problems.append(SpecProblem(mark.file, mark.line, mark.column, self.named(path), told))

    def named(self, path: Path) -> str:
        """The name of the field at ``path`` in error messages."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.written:
                return field_of((*self.written[path[:length]], *path[length:]))
        return field_of(path)

    def silence(self, path: Path) -> None:
        """Mark ``path`` as wrong for a reason that is recorded elsewhere."""
        self._blamed.add(path)

    def reblame(self, moved: Callable[[Path], list[Path]]) -> None:
        """Move the known mistakes: each path becomes the paths that ``moved`` returns."""
        self._blamed = {place for path in self._blamed for place in moved(path)}

    def wrong(self, path: Path) -> bool:
        """Is a mistake known for the value at ``path``, or for one that contains it?"""
        return any(path[:length] in self._blamed for length in range(1, len(path) + 1))

    def get(self, path: Path) -> Any:
        """The value at ``path``. Raises KeyError or IndexError."""
        value = self.value
        for part in path:
            value = value[part]
        return value


#: Tags of keys: text, and whole numbers, which are the text as written.
_KEYS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:int")


class _Loader(yaml.SafeLoader if not hasattr(yaml, "CSafeLoader") else yaml.CSafeLoader):  # type: ignore[misc]
    """PyYAML's loader with YAML 1.2's plain scalars."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


def _resolve(name: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(pattern), list(first) or [""])


_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^[-+]?(?:0|[1-9][0-9_]{0,39})$|^0x[0-9a-fA-F]{1,32}$", "-+0123456789")
_resolve(
    "float",
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$",
    "-+0123456789.",
)
_resolve("null", r"^(?:~|null|Null|NULL|)$", "~nN")
_resolve("null", r"^$", "")
_resolve("merge", r"^<<$", "<")


def read(path: FilePath) -> Document:
    """The document in a file. Raises SpecError if it cannot be read or is not YAML."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SpecError(
                [SpecProblem(str(path), 1, 1, "", f"is too long: {size} bytes; at most {MAX_BYTES}")]
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            [SpecProblem(str(path), 1, 1, "", f"is not UTF-8 text (byte {error.start})")]
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecError([SpecProblem(str(path), 1, 1, "", f"cannot be read: {reason}")]) from None
    return parse(text, str(path))


def parse(text: str, file: str) -> Document:
    """The document in a text. Raises SpecError if it is not YAML.

    Other mistakes (a duplicate key, a tag, too many aliases) are recorded in ``problems``.
    """
    document = Document(file)
    try:
        _bound(text, file)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = ", ".join(part for part in (error.problem, error.context) if part)
        # libyaml reads ahead, and may reach its own limit before `_bound` reaches ours.
        deep = "nesting depth" in said
        told = f"is nested deeper than {MAX_DEPTH} levels" if deep else f"is not valid YAML: {said}"
        if not deep and (fix := fix_of(error, text)) is not None:
            told = f"{told}: {fix}"
        raise SpecError([SpecProblem(file, line, column, "", told)]) from None
    except (yaml.YAMLError, ValueError) as error:
        said = str(error).splitlines()[0] if str(error) else "unreadable"
        raise SpecError([SpecProblem(file, 1, 1, "", f"is not valid YAML: {said}")]) from None
    if node is not None:
        document.value = _Builder(document).build(node, (), ())
    return document


def _bound(text: str, file: str) -> None:
    """Refuse nesting that would overflow the stack of the recursive composer."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line, column = (
                    (event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else (1, 1)
                )
                raise SpecError(
                    [SpecProblem(file, line, column, "", f"is nested deeper than {MAX_DEPTH} levels")]
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Builder:
    """Turns YAML nodes into plain values and records their places."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, path: Path, around: tuple[int, ...]) -> Any:
        """The plain value of ``node``; ``around`` are the nodes that contain it."""
        document = self.document
        document.values[path] = SourcePosition(
            document.file, node.start_mark.line + 1, node.start_mark.column + 1
        )
        self.count += 1
        if self.count == MAX_VALUES:
            document.blame(path, f"the file holds more than {MAX_VALUES} values after aliases are expanded")
        if self.count >= MAX_VALUES:
            return None
        if id(node) in around:
            document.blame(path, "an alias that contains itself")
            return None
        if len(path) > MAX_DEPTH:
            document.blame(path, f"is nested deeper than {MAX_DEPTH} levels")
            return None
        if node.tag not in _TAGS:
            document.blame(
                path, f"tags are not allowed; found {node.tag.replace('tag:yaml.org,2002:', '!!')!r}"
            )
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, (*around, id(node)))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(n, (*path, i), (*around, id(node))) for i, n in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            return self.scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError):
            # PyYAML's constructors raise any of these for a text that does not fit its tag.
            self.document.blame(
                path, f"cannot be read as {node.tag.rpartition(':')[2]}: found {brief(node.value)}"
            )
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path, around: tuple[int, ...]) -> dict[str, Any]:
        document = self.document
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = SourcePosition(
                document.file, key_node.start_mark.line + 1, key_node.start_mark.column + 1
            )
            if key_node.tag == "tag:yaml.org,2002:merge":
                for part in self._merged(value_node, path, around):
                    merged = {**part, **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _KEYS:
                shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a collection"
                document.keys[(*path, str(shown))] = place
                fix = f'; write "{shown}" in quotes' if isinstance(key_node, yaml.ScalarNode) else ""
                fix = f"; {TEMPLATE}" if isinstance(key_node, yaml.MappingNode) else fix
                document.blame(
                    (*path, str(shown)), f"keys must be text or whole numbers; found {shown!s}{fix}", key=True
                )
                continue
            key = key_node.value
            if key in own:
                first = document.keys[(*path, key)].line
                # Reported at its own place: the first of the two is kept and still checked.
                document.problems.append(
                    SpecProblem(
                        place.file,
                        place.line,
                        place.column,
                        field_of((*path, key)),
                        f"is given twice; found it on line {first} already: remove one",
                    )
                )
                continue
            document.keys[(*path, key)] = place
            own[key] = self.build(value_node, (*path, key), around)
        return {**{k: v for k, v in merged.items() if k not in own}, **own}

    def _merged(self, node: yaml.Node, path: Path, around: tuple[int, ...]) -> Iterator[dict[str, Any]]:
        """The mappings that a merge key (``<<: *base``) merges in."""
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(part, yaml.MappingNode):
                kept = self.document.values.get(path)
                merged = self.build(part, path, around)
                if isinstance(merged, dict):  # otherwise the mapping contains itself, which is reported
                    yield merged
                if kept is not None:
                    self.document.values[path] = kept
            else:
                self.document.blame(path, "a merge key (<<) takes a mapping, or a list of mappings")
