"""The base class of every part of a pipeline file. Part of the contracts: it imports nothing else."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class Frozen(BaseModel):
    """A part of a pipeline file: immutable, without unknown keys, its numbers finite, each field described by
    the string below it.

    These descriptions are the only source of ``gristmill help``, ``gristmill schema`` and docs/reference.
    They are read from the source file when :func:`descriptions` or a JSON Schema is asked for: pydantic's
    ``use_attribute_docstrings`` parses the source of each class when it is made, in every process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    _written: ClassVar[tuple[str, int]] = (__file__, 0)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__") != cls.__module__ and frame.f_back is not None:
            frame = frame.f_back
        cls._written = (frame.f_code.co_filename, frame.f_lineno)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        made = handler(core_schema)
        properties = handler.resolve_ref_schema(made).get("properties", {})
        for name, description in descriptions(cls).items():
            key = cls.model_fields[name].alias or name
            properties.get(key, properties.get(name, {})).setdefault("description", description)
        return made


def descriptions(kind: type[BaseModel]) -> dict[str, str]:
    """What each field of a model is for, as far as that is said: the string below it, or its ``description``.

    The strings of a class whose source cannot be read are missing.
    """
    found = {}
    for name, field in kind.model_fields.items():
        owner = next((base for base in kind.__mro__ if name in vars(base).get("__annotations__", {})), kind)
        file, line = vars(owner).get("_written", ("", 0))
        told = field.description or _classes(file).get((owner.__name__, line), {}).get(name)
        if told is not None:
            found[name] = told
    return found


@cache
def _classes(file: str) -> dict[tuple[str, int], dict[str, str]]:
    """For each class in a file, by its name and its first line, or that of a decorator: field -> the string
    below it.
    """
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for line in (node.lineno, *(each.lineno for each in node.decorator_list)):
                found[node.name, line] = dict(_described(node))
    return found


def _described(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """(field, the string below it) for each field of a class that has one."""
    for field, below in pairwise(node.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
