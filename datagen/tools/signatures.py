"""The schema of a Python function as a tool, read from its source: nothing is imported or run."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from typing import Any

from ...contracts.errors import DataError
from .docstrings import described

Function = ast.FunctionDef | ast.AsyncFunctionDef
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "None": "null"}
_LISTS = ("list", "List", "Sequence", "Iterable")
_OBJECTS = ("dict", "Dict", "Mapping")
_KNOWN = "str, int, float, bool, None, list, dict, Literal, Optional, Union, and Any"


def functions_in(source: str, name: str = "the code") -> list[Function]:
    """Return the public functions at the top level. ``name``: used in errors.

    Raises DataError if it is not Python.
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{name}: it is not Python: {error}") from None
    public = (node for node in body if isinstance(node, Function) and not node.name.startswith("_"))
    return list({node.name: node for node in public}.values())


def tool_of(function: Function) -> dict[str, Any]:
    """Return a function as a tool in OpenAI's form, with a JSON Schema of its arguments.

    Its annotations give the types, its docstring the descriptions, and its defaults what is not required.
    Raises DataError, with the argument, if one cannot be given by name or has an annotation without a schema.
    """
    about, told = described(ast.get_docstring(function))
    properties: dict[str, Any] = {}
    required: list[str] = []
    for argument, default in _arguments(function):
        name = argument.arg
        schema = _schema_of(argument, function)
        if name in told:
            schema["description"] = told[name]
        if default is None:
            required.append(name)
        elif (value := _value(default)) is not None:
            schema["default"] = value
        properties[name] = schema
    parameters: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    if (more := function.args.kwarg) is not None:
        parameters["additionalProperties"] = _schema_of(more, function) or True
    described_as = {"name": function.name, "description": about, "parameters": parameters}
    return {"type": "function", "function": described_as}


def _schema_of(argument: ast.arg, function: Function) -> dict[str, Any]:
    try:
        return {} if argument.annotation is None else _schema(argument.annotation)
    except DataError as error:
        raise DataError(f"{function.name}: argument {argument.arg!r}: {error.message}") from None


def _arguments(function: Function) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yield each argument with its default."""
    given = function.args
    if given.posonlyargs or given.vararg:
        name = given.posonlyargs[0].arg if given.posonlyargs else f"*{given.vararg and given.vararg.arg}"
        raise DataError(
            f"{function.name}: argument {name!r} cannot be given by its name, as calls of tools do"
        )
    lacking = len(given.args) - len(given.defaults)
    yield from zip(given.args, [None] * lacking + list(given.defaults), strict=True)
    yield from zip(given.kwonlyargs, given.kw_defaults, strict=True)


def _schema(annotation: ast.expr) -> dict[str, Any]:
    """Return the schema of an annotation. Raises DataError if it has none."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return _schema(_parsed(annotation.value))
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _union([annotation.left, annotation.right])
    name = _name(annotation)
    if name in _TYPES:
        return {"type": _TYPES[name]}
    if name in _LISTS:
        return {"type": "array"}
    if name in _OBJECTS:
        return {"type": "object"}
    if name == "Any":
        return {}
    if isinstance(annotation, ast.Subscript):
        return _subscripted(_name(annotation.value), _inside(annotation), annotation)
    raise _unknown(annotation)


def _subscripted(name: str, inside: list[ast.expr], annotation: ast.expr) -> dict[str, Any]:
    if name in _LISTS and len(inside) == 1:
        return {"type": "array", "items": _schema(inside[0])}
    if name in _OBJECTS and len(inside) == 2 and _name(inside[0]) == "str":
        return {"type": "object", "additionalProperties": _schema(inside[1])}
    if name == "Optional" and len(inside) == 1:
        return _union([*inside, ast.Constant(None)])
    if name == "Union":
        return _union(inside)
    if name == "Annotated" and inside:
        return _schema(inside[0])
    if name == "Literal":
        values = [_literal(each, annotation) for each in inside]
        kinds = {_TYPES["None" if value is None else type(value).__name__] for value in values}
        return {**({"type": kinds.pop()} if len(kinds) == 1 else {}), "enum": values}
    raise _unknown(annotation)


def _literal(value: ast.expr, annotation: ast.expr) -> str | int | None:
    """Return a value of ``Literal``. Raises DataError for what JSON has no equal of."""
    try:
        found = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise _unknown(annotation) from None
    if found is not None and not isinstance(found, (str, int)):
        raise _unknown(annotation)
    return found


def _union(parts: list[ast.expr]) -> dict[str, Any]:
    schemas: list[dict[str, Any]] = []
    for schema in map(_schema, parts):
        schemas += schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
    if {} in schemas:
        return {}
    if all(set(schema) == {"type"} for schema in schemas):
        return {"type": list(dict.fromkeys(schema["type"] for schema in schemas))}
    return {"anyOf": schemas}


def _inside(annotation: ast.Subscript) -> list[ast.expr]:
    return list(annotation.slice.elts) if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]


def _name(annotation: ast.expr) -> str:
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return "None"
    if isinstance(annotation, ast.Attribute):  # typing.Literal, collections.abc.Sequence
        return annotation.attr
    return annotation.id if isinstance(annotation, ast.Name) else ""


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise DataError(f"its annotation {text!r} is not Python") from None


def _unknown(annotation: ast.expr) -> DataError:
    return DataError(
        f"its annotation {ast.unparse(annotation)!r} has no JSON Schema here; known are {_KNOWN}"
    )


def _value(default: ast.expr) -> Any:
    """Return a default that JSON can express; None for others."""
    try:
        value = ast.literal_eval(default)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int)) else None
