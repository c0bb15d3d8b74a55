"""Describes objects that are not plain data for the other side: functions, classes, instances, exceptions."""

from __future__ import annotations

import abc
import enum
import functools
import inspect
import itertools
import sys
import types
from typing import TYPE_CHECKING, Any

from . import type_hints
from .specials import SPECIALS
from .values import changed

if TYPE_CHECKING:
    from .peer import Peer
    from .wire import MessageEncoder, Node

#: Modules of test frameworks. Their objects are never sent by name.
FRAMEWORKS = frozenset(
    ("unittest", "doctest", "test", "pytest", "_pytest", "pluggy", "hypothesis", "nose", "sandbox")
)
#: Installed packages that both sides import, like the standard library. Their values are sent as plain data.
PACKAGES = frozenset(("numpy",))
#: Immutable base types. An instance of a subclass contains a value of its base type.
STORED = (int, float, complex, str, bytes, tuple, frozenset)
#: Mutable base types. The same holds if the other side does not know the subclass by name.
CONTAINED = (list, dict, set, bytearray)
_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType,
    types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType,
    functools.partial, type(functools.lru_cache(lambda: None)),
)  # fmt: skip
_ITERATORS = (
    types.GeneratorType, map, filter, zip, enumerate, reversed,
    *(type(iter(made())) for made in (list, tuple, dict, set, str, bytes, bytearray)), type(iter(range(0))),
    type(iter(range(1 << 70))), type(iter({}.values())), type(iter({}.items())), type(reversed([])),
    *(kind for kind in vars(itertools).values() if isinstance(kind, type)),
)  # fmt: skip
_AWAITABLES = (types.CoroutineType,)


class Shape:
    """Stands for a class of the standard library whose instances stay here."""

    def __init__(self, kind: type) -> None:
        self.kind = kind


def standard_name(kind: Any) -> str | None:
    """``module:name`` of a class or function of the standard library; None for all others.

    The other side uses its own object of that name.
    """
    module, name = getattr(kind, "__module__", None), getattr(kind, "__qualname__", None)
    if type(module) is not str or type(name) is not str:
        return None
    top = module.partition(".")[0]
    if (top not in sys.stdlib_module_names and top not in PACKAGES) or top in FRAMEWORKS:
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is kind and not changed(kind) else None


def node(side: Peer, value: Any, encoder: MessageEncoder) -> Node:
    """The node that refers to ``value``."""
    number = side.their_numbers.get(id(value))
    if number is not None:
        return ["yours", number, []]
    kind = type(value)
    mro = kind.__mro__
    if kind in type_hints.VARIABLES:
        return [
            "variable",
            side.export(value),
            [encoder.slot(part) for part in type_hints.variable_fields(value)],
        ]
    if type_hints.is_typed_dict(value):
        return [
            "typed",
            side.export(value),
            [encoder.slot(part) for part in type_hints.typed_dict_fields(value)],
        ]
    if type in mro:
        name = standard_name(value)
        return ["type", name, []] if name is not None else _class(side, value, value, encoder)
    if kind is Shape:
        return _class(side, value, value.kind, encoder)
    if kind is types.ModuleType:
        return ["module", value.__name__, []]
    if BaseException in mro:
        return _error(side, value, encoder)
    if kind in _FUNCTIONS:
        return _function(side, value)
    if kind in (types.GeneratorType, types.AsyncGeneratorType):
        how = "generator" if kind is types.GeneratorType else "asynchronous"
        return ["iterator", [side.export(value), how, [str(value.__name__), str(value.__qualname__)]], []]
    if kind in _ITERATORS:
        return ["iterator", [side.export(value), "iterator", standard_name(kind)], []]
    if kind in _AWAITABLES:
        return ["awaitable", side.export(value), []]
    if enum.Enum in mro:
        name = value._name_ if value._name_ in kind._member_map_ else None
        return ["member", name, [encoder.slot(kind), encoder.slot(None if name else value._value_)]]
    return _instance(side, value, kind, encoder)


def _instance(side: Peer, value: Any, kind: type, encoder: MessageEncoder) -> Node:
    base = _first(kind, STORED)
    if base is not None:
        number = None if kind in side.theirs_made else side.export(value)
        return [
            "stored",
            number,
            [encoder.slot(kind), encoder.slot(base.__new__(base, *_stored(base, value)))],
        ]
    if standard_name(kind) is not None:
        shape = side.shapes.get(kind)
        if shape is None:
            shape = side.shapes[kind] = Shape(kind)
        return ["object", side.export(value), [encoder.slot(shape)]]
    base = _first(kind, CONTAINED)
    if base is not None:
        return ["contained", side.export(value), [encoder.slot(kind), encoder.slot(contents(value))]]
    return ["object", side.export(value), [encoder.slot(kind)]]


def _stored(base: type, value: Any) -> list[Any]:
    """The arguments that create the plain value of a subclass instance, read by methods of the base type."""
    if base is int:
        return [int.__index__(value)]
    if base is float:
        return [float.__float__(value)]
    if base is complex:
        return [complex.__complex__(value)]
    if base is str:
        return [str.__str__(value)] if type(str.__str__(value)) is str else ["".join(str.__iter__(value))]
    if base is bytes:
        return [bytes.__getitem__(value, slice(None))]
    return [list(base.__iter__(value))]  # type: ignore[attr-defined]


def contents(value: Any) -> Any:
    """A plain copy of an instance of a container subclass."""
    base: Any = _first(type(value), CONTAINED)
    if base is dict:
        return dict(dict.items(value))
    return base(base.__iter__(value))


def state(value: Any) -> dict[str, Any]:
    """The attributes of an instance, including those in slots."""
    held = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{kind.__name__.lstrip('_')}{name}"
            if hasattr(value, name) and name not in ("__dict__", "__weakref__"):
                held.setdefault(name, getattr(value, name))
    return held


def _first(kind: type, bases: tuple[type, ...]) -> type | None:
    return next((base for base in kind.__mro__ if base in bases), None)


def _function(side: Peer, value: Any) -> Node:
    if side.tells_builtins and type(value) is not types.FunctionType:
        name = _builtin_name(value)
        if name is not None:
            return ["builtin", name, []]
    name = getattr(value, "__name__", None)
    kind = "async" if inspect.iscoroutinefunction(value) else "plain"
    return ["function", [side.export(value), name if type(name) is str else "function", kind], []]


def _builtin_name(value: Any) -> str | None:
    owner = getattr(value, "__objclass__", None)
    if owner is not None:
        name = standard_name(owner)
        return None if name is None else f"{name}.{value.__name__}"
    return standard_name(value)


def _error(side: Peer, value: BaseException, encoder: MessageEncoder) -> Node:
    kind = type(value)
    standard = standard_name(kind) is not None
    number = None if standard and side.side == 1 else side.export(value)
    own = {} if number is not None and not standard else dict(getattr(value, "__dict__", {}))
    for name in ("filename", "name", "path", "obj"):
        if isinstance(value, (OSError, ImportError, NameError, AttributeError)):
            own.setdefault(name, getattr(value, name, None))
    cause = value.__cause__
    value.__traceback__ = None if side.side == 1 else value.__traceback__
    flat = tuple(part for item in own.items() for part in item)
    arguments = tuple(value.args)
    if isinstance(value, BaseExceptionGroup):  # a tuple, since the decoder fills lists too late
        arguments = (value.message, tuple(value.exceptions))
    return ["error", number, [encoder.slot(part) for part in (kind, arguments, flat, cause)]]


def _class(side: Peer, told: Any, kind: type, encoder: MessageEncoder) -> Node:
    if id(told) in side.numbers:
        return ["class", [side.export(told), None], []]
    number = side.export(told)
    bases = [base for base in kind.__bases__ if told is kind and _is_told(base)]
    facts = {
        "name": kind.__name__,
        "qualname": kind.__qualname__,
        "module": getattr(kind, "__module__", "program"),
        "specials": _specials(kind),
        "inherited": _inherited(kind),
        "hashable": kind.__hash__ is not None,
        "doc": doc if type(doc := kind.__dict__.get("__doc__")) is str else None,
        "bases": len(bases),
        "abcs": [
            name
            for base in kind.__mro__
            if isinstance(base, abc.ABCMeta) and (name := standard_name(base)) is not None
        ],
        "extends": _extends(kind),
        "kind": _kind(kind),
        "known": standard_name(kind),
    }
    values: list[Any] = []
    if facts["kind"] == "enum":
        members = list(kind.__members__.items())  # type: ignore[attr-defined]
        facts["members"] = [name for name, _ in members]
        facts["mixed"] = next(
            (
                name
                for base in kind.__mro__[1:]
                if (name := standard_name(base)) is not None and enum.Enum in base.__mro__
            ),
            "enum:Enum",
        )
        stored = _first(kind, STORED)
        facts["stored"] = None if stored is None else stored.__name__
        values = [member._value_ for _, member in members]
    fields = getattr(kind, "_fields", None)
    if facts["kind"] == "tuple" and type(fields) is tuple and all(type(name) is str for name in fields):
        facts["fields"] = list(fields)
        values = [dict(getattr(kind, "_field_defaults", {}))]
    if isinstance(data := kind.__dict__.get("__dataclass_fields__"), dict):
        facts["dataclass"] = [name for name in data if type(name) is str]
    return ["class", [number, facts], [encoder.slot(part) for part in (*bases, *values)]]


def _is_told(base: type) -> bool:
    """Whether a base class is sent: classes of the same side, and exceptions."""
    return standard_name(base) is None or issubclass(base, BaseException)


def _kind(kind: type) -> str:
    if enum.Enum in kind.__mro__:
        return "enum"
    if BaseException in kind.__mro__:
        return "error"
    base = _first(kind, (*STORED, *CONTAINED))
    return "plain" if base is None else base.__name__


def _extends(kind: type) -> bool:
    """Whether a subclass of an immutable type has methods or attributes that the type does not have."""
    base = _first(kind, STORED)
    return base is not None and any(
        not name.startswith("__") and not hasattr(base, name)
        for each in kind.__mro__[: kind.__mro__.index(base)]
        for name in each.__dict__
    )


def _specials(kind: type) -> list[str]:
    """The special methods that differ from those of the immutable base type or exception."""
    found: set[str] = set()
    for base in kind.__mro__:
        if base is object or base in STORED or base is enum.Enum:
            break
        if (BaseException in base.__mro__ or enum.Enum in base.__mro__) and standard_name(base) is not None:
            break
        found |= SPECIALS & base.__dict__.keys()
    # The enum module puts methods of its own classes into each enumeration.
    library = next((base for base in kind.__mro__ if base.__module__ == "enum"), object)
    own = (name for name in found if getattr(kind, name, None) is not getattr(library, name, None))
    return sorted(name for name in own if getattr(kind, name, None) is not None)


def _inherited(kind: type) -> list[str]:
    """The special methods that a container subclass inherits without overriding them."""
    base = _first(kind, CONTAINED)
    if base is None:
        return []
    return sorted(name for name in SPECIALS if getattr(kind, name, None) is getattr(base, name, base))
