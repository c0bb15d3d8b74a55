"""``vars:`` and ``${name}``: variables that any string of the file can use.

A string that is only ``${name}`` takes the variable's value and type; elsewhere the value is
inserted into the string. Variables may use other variables. ``$${`` is a literal ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ...contracts.errors import SpecProblem
from ...contracts.nearest import brief, suggestion
from .document import MAX_DEPTH, MAX_VALUES, Document, Path

#: Maximum length of a string after substitution, against variables that multiply each other.
MAX_LENGTH = 1_000_000

_USE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")


def substitute(document: Document) -> None:
    """Substitute the variables in the strings of ``document``; mistakes are recorded in the document."""
    if not isinstance(document.value, dict):
        return
    given = _given(document)
    values = _Variables(document, given)
    resolved = {name: values.of(name) for name in given}
    for key, value in document.value.items():
        document.value[key] = resolved if key == "vars" else values.put(value, (key,))


def missing_variables(document: Document, needs: Sequence[str]) -> Iterator[SpecProblem]:
    """The mistakes of variables that a file ``needs`` and that are empty, given the substituted document.

    Names that are no variables are recorded in the document.
    """
    given = document.value.get("vars") or {}
    for number, one_of in enumerate(needs):
        names = [name.strip() for name in one_of.split(" or ")]
        unknown = [name for name in names if name not in given]
        for name in unknown:
            document.blame(("needs", number), f"unknown variable: {suggestion(name, given)}")
        if unknown or any(given[name] not in (None, "", [], {}) for name in names):
            continue
        place = document.mark(("vars", names[0]), key=True)
        told = " or ".join(f"vars.{name}" for name in names)
        message = f"the file needs {told}; found nothing: add --set vars.{names[0]}=..."
        yield SpecProblem(place.file, place.line, place.column, f"vars.{names[0]}", message)


def value_at(document: Document, path: Path) -> Any:
    """The value at ``path`` with its variables substituted, ahead of the rest of the document.

    Mistakes are recorded in the document. Raises KeyError if nothing is at ``path``.
    """
    return _Variables(document, _given(document)).put(document.get(path), path)


def _given(document: Document) -> dict[str, Any]:
    """The variables as written."""
    given = document.value.get("vars")
    if given is None:
        return {}
    if not isinstance(given, dict):
        document.blame(("vars",), f"should be a mapping of names to values; found {brief(given)}")
        return {}
    return given


class _Undefined(Exception):
    """A string uses a variable without a value; the mistake is recorded."""


class _Variables:
    def __init__(self, document: Document, given: dict[str, Any]) -> None:
        self.document = document
        self.given = given
        self.done: dict[str, Any] = {}
        self.open: list[str] = []
        #: (values, levels) of each variable's value, and the number of values substituted so far.
        self.sizes: dict[str, tuple[int, int]] = {}
        self.spent = 0

    def of(self, name: str) -> Any:
        """The value of a variable. Raises _Undefined if it is part of a cycle."""
        if name in self.done:
            return self.done[name]
        if name in self.open:
            cycle = " -> ".join([*self.open[self.open.index(name) :], name])
            self.document.blame(("vars", name), f"cycle of variables: {cycle}")
            for other in self.open:
                self.document.silence(("vars", other))
            raise _Undefined
        if len(self.open) > MAX_DEPTH:
            self.document.blame(
                ("vars", name), f"variables that use each other more than {MAX_DEPTH} levels deep"
            )
            raise _Undefined
        self.open.append(name)
        value = self.put(self.given[name], ("vars", name))
        self.open.pop()
        self.sizes[name] = _size(value)
        self.done[name] = value
        return value

    def put(self, value: Any, path: Path) -> Any:
        """``value`` with the variables in its strings replaced."""
        if isinstance(value, dict):
            return {key: self.put(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.put(inner, (*path, index)) for index, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        try:
            return self._text(value, path)
        except _Undefined:
            # The string stays as written; the mistake is already recorded, and no later check repeats it.
            self.document.silence(path)
            return value

    def _text(self, text: str, path: Path) -> Any:
        whole = _USE.fullmatch(text)
        if whole is not None and whole.group(1) is not None:
            return self._named(whole.group(1).strip(), path)
        parts: list[str] = []
        start = 0
        for use in _USE.finditer(text):
            parts.append(text[start : use.start()])
            start = use.end()
            if use.group(1) is None:
                parts.append("${")
                continue
            value = self._named(use.group(1).strip(), path)
            if isinstance(value, (dict, list)):
                self.document.blame(path, f"${{{use.group(1)}}} is {brief(value)}: it can only stand alone")
                raise _Undefined
            parts.append(_plain(value))
        parts.append(text[start:])
        joined = "".join(parts)
        if len(joined) > MAX_LENGTH:
            self.document.blame(
                path, f"is longer than {MAX_LENGTH} characters after variables are substituted"
            )
            raise _Undefined
        return joined

    def _named(self, name: str, path: Path) -> Any:
        if name not in self.given:
            self.document.blame(path, f"unknown variable: {suggestion(name, self.given)}")
            raise _Undefined
        value = self.of(name)
        if self.document.wrong(("vars", name)):
            raise _Undefined
        values, levels = self.sizes[name]
        self.spent += values
        if self.spent > MAX_VALUES or levels + len(path) > MAX_DEPTH:
            self.document.blame(
                path, f"variables substitute more than {MAX_VALUES} values or {MAX_DEPTH} levels"
            )
            raise _Undefined
        self.document.uses.add(path, name, value)
        return value


def _size(value: object) -> tuple[int, int]:
    """(values, levels) of a value whose parts are within the limits."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    sizes = [_size(part) for part in inner]
    return 1 + sum(count for count, _ in sizes), 1 + max((levels for _, levels in sizes), default=0)


def _plain(value: object) -> str:
    """A value as YAML writes it inside a string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
