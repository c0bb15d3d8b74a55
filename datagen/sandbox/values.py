"""Immutable values of the standard library: split into plain fields and rebuilt on the other side.

The receiver builds a value with its own classes, so methods of the sender have no influence on it.
"""

from __future__ import annotations

import importlib
import re
import sys
import time
import types
import uuid
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as time_of_day
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from . import type_hints

__all__ = ["Counter", "OrderedDict", "array", "defaultdict", "deque", "fields", "made"]

_SPECIAL_FLOATS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_PATTERN = type(re.compile(""))


def _hexadecimal(text: str) -> int:
    return int(text, 16)


def _special_float(text: str) -> float:
    return float(_SPECIAL_FLOATS[text])


def _text(hexadecimal: str) -> str:
    return bytes.fromhex(hexadecimal).decode("utf-8", "surrogatepass")


def _moment(*parts: Any) -> datetime:
    return datetime(*parts[:8], fold=parts[8])


def _clock(*parts: Any) -> time_of_day:
    return time_of_day(*parts[:5], fold=parts[5])


#: The type flag of classes that can be modified (Include/object.h).
_HEAP_TYPE = 1 << 9

#: Exact type -> (function that returns the fields, function that builds a value from them).
_VALUES: dict[type, tuple[Callable[[Any], list[Any]], Callable[..., Any]]] = {
    int: (lambda v: [hex(v)], _hexadecimal),
    float: (lambda v: [repr(v)], _special_float),
    str: (lambda v: [v.encode("utf-8", "surrogatepass").hex()], _text),
    bytes: (lambda v: [v.decode("latin-1")], lambda text: text.encode("latin-1")),
    complex: (lambda v: [v.real, v.imag], complex),
    range: (lambda v: [v.start, v.stop, v.step], range),
    slice: (lambda v: [v.start, v.stop, v.step], slice),
    type(Ellipsis): (lambda v: [], lambda: Ellipsis),
    type(NotImplemented): (lambda v: [], lambda: NotImplemented),
    Decimal: (lambda v: [str(v)], Decimal),
    Fraction: (lambda v: [v.numerator, v.denominator], Fraction),
    date: (lambda v: [v.year, v.month, v.day], date),
    time_of_day: (lambda v: [v.hour, v.minute, v.second, v.microsecond, v.tzinfo, v.fold], _clock),
    datetime: (
        lambda v: [v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.tzinfo, v.fold],
        _moment,
    ),
    timedelta: (lambda v: [v.days, v.seconds, v.microseconds], timedelta),
    timezone: (
        lambda v: [v.utcoffset(None)] if v is UTC else [v.utcoffset(None), v.tzname(None)],
        timezone,
    ),
    uuid.UUID: (lambda v: [v.int], lambda number: uuid.UUID(int=number)),
    PosixPath: (lambda v: [str(v)], Path),
    PurePosixPath: (lambda v: [str(v)], PurePosixPath),
    PureWindowsPath: (lambda v: [str(v)], PureWindowsPath),
    _PATTERN: (lambda v: [v.pattern, v.flags], re.compile),
    time.struct_time: (lambda v: [tuple(v)], time.struct_time),
}
_BY_NAME = {kind.__name__: make for kind, (_, make) in _VALUES.items()}
assert len(_BY_NAME) == len(_VALUES), PurePath

#: The same for modules that few programs import: module -> class name -> function that returns the fields.
_OF_MODULES: dict[str, dict[str, Callable[[Any], list[Any]]]] = {
    "ipaddress": {
        f"IPv{version}{what}": lambda v: [str(v)]
        for version in (4, 6)
        for what in ("Address", "Network", "Interface")
    },
    "zoneinfo": {"ZoneInfo": lambda v: [v.key]},
    "statistics": {"NormalDist": lambda v: [v.mean, v.stdev]},
}
_MODULE_OF = {name: module for module, kinds in _OF_MODULES.items() for name in kinds}


def changed(kind: Any) -> bool:
    """Whether the program has put its own function into a class of the standard library."""
    if not isinstance(kind, type) or not kind.__flags__ & _HEAP_TYPE:
        return False
    functions = (value for value in kind.__dict__.values() if type(value) is types.FunctionType)
    return any(function.__globals__.get("__name__") == "program" for function in functions)


def fields(value: Any) -> tuple[str, list[Any]] | None:
    """(name of its type, fields) of a value that the other side rebuilds; None for anything else."""
    kind = type(value)
    if kind in _VALUES and not changed(kind):
        return kind.__name__, _VALUES[kind][0](value)
    if (of_module := _OF_MODULES.get(_module(kind))) is not None:
        return _rare(value, kind, of_module)
    hint = type_hints.fields(value)
    if hint is not None:
        return hint
    numpy = sys.modules.get("numpy")
    if numpy is not None and kind.__module__ == "numpy":
        return _numeric(value, numpy)
    return None


def _module(kind: type) -> str:
    module = kind.__module__
    return module if type(module) is str else ""


def _rare(
    value: Any, kind: type, kinds: dict[str, Callable[[Any], list[Any]]]
) -> tuple[str, list[Any]] | None:
    name = kind.__name__
    if (
        getattr(sys.modules.get(kind.__module__), name, None) is not kind
        or name not in kinds
        or changed(kind)
    ):
        return None
    found = kinds[name](value)
    return None if None in found else (name, found)  # a time zone from a file has no key


def made(name: str, parts: list[Any]) -> Any:
    """Build the value.

    Raises KeyError, TypeError, ValueError or ArithmeticError if the fields are invalid.
    """
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)(*parts)
    if name in type_hints.NAMES:
        return type_hints.made(name, parts)
    if name in ("ndarray", "numpy scalar"):
        numpy = importlib.import_module("numpy")
        kind, shape, data = parts
        found = numpy.frombuffer(data, dtype=numpy.dtype(kind)).reshape(shape).copy()
        return found if name == "ndarray" else found[()]
    return _BY_NAME[name](*parts)


def _numeric(value: Any, numpy: Any) -> tuple[str, list[Any]] | None:
    """Fields of NumPy arrays and scalars, without object dtypes, structured dtypes and subclasses."""
    kind = type(value)
    if kind is not numpy.ndarray and not issubclass(kind, numpy.generic):
        return None
    if value.dtype.hasobject or value.dtype.fields is not None:
        return None
    name = "ndarray" if kind is numpy.ndarray else "numpy scalar"
    return name, [value.dtype.str, tuple(value.shape), numpy.ascontiguousarray(value).tobytes()]
