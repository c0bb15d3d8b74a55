"""The reference entry of one operator or of one part of a file, gathered from its class."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ...contracts.operators import Operator
from ..file.docstrings import Docstring, plain, read_class
from .words import REFERENCES, default_in_words, type_in_words


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter.

    ``default``: None if it is required. ``part``: the topic of its own keys, if it is a mapping. ``value``:
    whether it is the verb's own value (``keep: "a > 1"``).
    """

    name: str
    type: str
    default: str | None
    description: str
    part: str | None = None
    value: bool = False

    @property
    def kind(self) -> str:
        """Its type and default: ``whole number, at least 1; default 4``."""
        given = (
            "required" if self.default is None else f"default {self.default}" if self.default else "optional"
        )
        return f"{self.type}; {given}{'; the value of the verb' if self.value else ''}"


@dataclass(frozen=True, slots=True)
class Entry:
    """``title``: as written in a file (``select: cluster_quota``). ``name``: its name within its topic."""

    title: str
    name: str
    about: Docstring
    parameters: tuple[Parameter, ...]


def entry(title: str, name: str, kind: type[BaseModel], tag: str = "") -> Entry:
    """The entry of a class: required parameters first, then its own, then those of its bases.

    ``tag``: a parameter whose value distinguishes this class from others; it is required, whatever its
    default.
    """
    schemas = kind.model_json_schema(mode="validation").get("properties", {})
    named = dict(kind.reference_fields()) if issubclass(kind, Operator) else {}
    held = kind.value_field if issubclass(kind, Operator) else None
    found = []
    for key, field in _in_order(kind):
        name_in_file = field.alias or key
        made = _parameter(name_in_file, field, schemas.get(name_in_file, {}), named.get(key))
        found.append(replace(made, default=None if key == tag else made.default, value=key == held))
    return Entry(title, name, read_class(kind), required_first(found))


def required_first(parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """In their order otherwise."""
    return tuple(sorted(parameters, key=lambda each: each.default is not None))


def parts(kind: type[BaseModel]) -> Iterator[tuple[str, tuple[type[BaseModel], ...]]]:
    """(field, the classes of its mappings) for each field that takes mappings."""
    for name, field in kind.model_fields.items():
        classes = tuple(dict.fromkeys(_models(field.annotation)))
        if classes:
            yield name, classes


def _parameter(name: str, field: FieldInfo, schema: dict[str, object], reference: str | None) -> Parameter:
    kind = type_in_words(schema)
    if reference is not None:
        kind = REFERENCES[reference] + (", or a list of them" if "list" in kind else "")
    part = name if any(True for _ in _models(field.annotation)) else None
    return Parameter(name, kind, default_in_words(field), plain(field.description or ""), part)


def _in_order(kind: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The class's fields: those that it declares itself first, then those of its bases."""
    own = [name for base in kind.__mro__ for name in getattr(base, "__annotations__", {})]
    names = [name for name in dict.fromkeys(own) if name in kind.model_fields]
    return [(name, kind.model_fields[name]) for name in names]


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """The pydantic models in an annotation, however deep (``A | B | None``, ``dict[str, A]``)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)
