"""Turns a pydantic ValidationError into mistakes of the file, with their lines and in plain words."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ...contracts.nearest import brief, did_you_mean, suggestion, unknown_key
from ...contracts.validation import told
from .document import Document, Path

#: pydantic's error type (without its suffix) -> what was expected.
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "none": "nothing",
}
_SUFFIX = re.compile(r"_(type|parsing|parsing_size|from_float|attributes_type|required|sub_type|unicode)$")


def blame_all(
    document: Document,
    base: Path,
    error: ValidationError,
    model: type[BaseModel],
    *,
    renamed: Mapping[str, Path] | None = None,
    more: Iterable[str] = (),
    other_names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Record every mistake of ``error``, which came from validating the value at ``base``.

    ``renamed``: fields whose value is elsewhere (the verb's own value). ``more``: keys that are
    valid besides the model's fields, for suggestions. ``other_names``: see Operator.
    """
    expected: dict[Path, list[str]] = {}
    found: dict[Path, Any] = {}
    literals: dict[Path, list[str]] = {}
    details = error.errors(include_url=False)
    paths = [_place(document, base, detail["loc"], renamed or {}) for detail in details]
    for detail, path in zip(details, paths):
        kind = detail["type"]
        # A union reports errors of each member: the deepest is the most specific, and those at one place are
        # what is possible there.
        if _of_member(kind) and any(len(path) < len(other) and other[: len(path)] == path for other in paths):
            continue
        if kind == "literal_error" and paths.count(path) > 1:
            names = _quoted(str(detail["ctx"]["expected"]))
            literals[path] = [*literals.get(path, ()), *names]
            expected.setdefault(path, []).extend(map(repr, names))
            found[path] = detail["input"]
        elif kind == "missing" and isinstance(detail["loc"][-1], int):
            document.blame(path, f"has too few parts; found {brief(_at(document, path))}")
        elif kind == "missing":
            name = str(detail["loc"][-1])
            _missing(document, path, (renamed or {}).get(name), name)
        elif kind == "extra_forbidden":
            known = {*more, *_fields(model, path[len(base) : -1], _at(document, base))} if path else set(more)
            said = unknown_key(path[-1], known, other_names, detail["input"])
            document.blame(path, said, key=True)
        elif (wanted := _wanted(kind)) is not None:
            expected.setdefault(path, []).append(wanted)
            found[path] = detail["input"]
        else:
            document.blame(path, _said(detail))
    for path, wanted_here in expected.items():
        choices = " or ".join(dict.fromkeys(wanted_here))
        given = found[path]
        meant = did_you_mean(given, literals.get(path, ())) if isinstance(given, str) else ""
        document.blame(path, f"expected {choices}; found {brief(given)}{meant}")


def _of_member(kind: str) -> bool:
    """Whether a member of a union reports this of a value that another member may take."""
    return kind == "literal_error" or _wanted(kind) is not None


def _missing(document: Document, path: Path, stands: Path | None, name: str) -> None:
    if stands is not None:
        document.blame(stands, "a value is required here", key=True)
    else:
        # Point at the key of the mapping that lacks it.
        mark_key = path in document.keys
        document.blame((*path, name), f"required, but missing: add `{name}:`", at=path, key=mark_key)


def _wanted(kind: str) -> str | None:
    return _EXPECTED.get(_SUFFIX.sub("", kind)) if _SUFFIX.search(kind) else None


def _said(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    given = detail["input"]
    match detail["type"]:
        case "literal_error" | "enum":
            return suggestion(given, _quoted(str(context["expected"])))
        case "union_tag_invalid":
            return (
                f"{context['discriminator']}: "
                f"{suggestion(context['tag'], _quoted(str(context['expected_tags'])))}"
            )
        case "union_tag_not_found":
            return f"needs {context['discriminator']}, which says what kind it is; found {brief(given)}"
        case "string_pattern_mismatch":
            return f"found {brief(given)}; it {told(detail)}"
        case "value_error" | "assertion_error":
            return told(detail)
        case _:
            return f"{told(detail)}; found {brief(given)}"


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text) or [text]


def _place(document: Document, base: Path, loc: tuple[int | str, ...], renamed: Mapping[str, Path]) -> Path:
    """The document's path for pydantic's location, which also contains the members of unions."""
    path = base
    if loc and isinstance(loc[0], str) and loc[0] in renamed:
        path, loc = renamed[loc[0]], loc[1:]
    here = _at(document, path)
    for part in loc:
        if (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and part < len(here)
        ):
            here = here[part]  # type: ignore[index]
            path = (*path, part)
    return path


def _at(document: Document, path: Path) -> Any:
    try:
        return document.get(path)
    except (KeyError, IndexError, TypeError):
        return None


def _fields(model: type[BaseModel], path: Path, value: Any) -> set[str]:
    """The fields that a mapping at ``path`` below ``model`` may have. ``value``: the value given there."""
    models: list[type[BaseModel]] = [model]
    annotations: list[Any] = [model]
    for part in path:
        value = value[part] if _holds(value, part) else None
        annotations = [inner for outer in annotations for inner in _inside(outer, part)]
        models = [each for each in annotations if isinstance(each, type) and issubclass(each, BaseModel)]
    fitting = [each for each in models if _fits(each, value)] or models
    return {info.alias or name for each in fitting for name, info in each.model_fields.items()}


def _holds(value: Any, part: int | str) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _inside(annotation: Any, part: int | str) -> Iterator[Any]:
    """The possible types at ``part`` of a value of type ``annotation``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        info = annotation.model_fields.get(str(part))
        if info is not None:
            yield from members(info.annotation)
    elif typing.get_origin(annotation) in (list, tuple, dict):
        arguments = [each for each in typing.get_args(annotation) if each is not ...]
        yield from members(arguments[-1] if arguments else Any)


def members(annotation: Any) -> Iterator[Any]:
    """The members of a union, without ``Annotated``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for inner in typing.get_args(annotation):
            yield from members(inner)
    else:
        yield annotation


def _fits(model: type[BaseModel], value: Any) -> bool:
    """Do the discriminating fields of a union's member match the value?"""
    tags = _tags(model)
    return not isinstance(value, dict) or all(value.get(name, tag) == tag for name, tag in tags.items())


@cache
def _tags(model: type[BaseModel]) -> dict[str, Any]:
    return {
        name: typing.get_args(info.annotation)[0]
        for name, info in model.model_fields.items()
        if typing.get_origin(info.annotation) is typing.Literal and len(typing.get_args(info.annotation)) == 1
    }
