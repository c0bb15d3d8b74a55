"""Stand-ins for what lies on the other side of a judged run: functions, classes, instances, generators, exceptions.

A class here mirrors one there: the same name, the bases that matter to ``isinstance`` and ``except``, and the methods of
the data model that it defines. One object there has one stand-in here, so identity holds.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import inspect
import types
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from .failing import NeedsSharedProcess
from .specials import SPECIALS
from .wire import Malformed

if TYPE_CHECKING:
    from .peer import Peer

_STORED: dict[str, type] = {kind.__name__: kind for kind in (int, float, complex, str, bytes, tuple, frozenset)}
#: What Python itself looks for in a class, and what no proxy has.
_NEVER = frozenset(("__isabstractmethod__", "__set_name__", "__abstractmethods__", "__mro_entries__", "__objclass__"))

_NOTED = frozenset(("__traceback__", "__cause__", "__context__", "__suppress_context__", "__notes__"))


class Attributes:
    """Instances of the other side's classes: whatever is not here is asked for there."""

    __slots__ = ()
    _peer_: Peer

    def __getattr__(self, name: str) -> Any:
        if name in _NEVER:
            raise AttributeError(name)
        return type(self)._peer_.get(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        type(self)._peer_.ask("set", name, self, value)

    def __delattr__(self, name: str) -> None:
        type(self)._peer_.ask("delete", name, self)

    def __dir__(self) -> list[str]:
        found: list[str] = type(self)._peer_.ask("dir", None, self)
        return found

    def __copy__(self) -> Any:
        return type(self)._peer_.ask("copy", None, self)

    def __deepcopy__(self, memo: Any) -> Any:
        return type(self)._peer_.ask("deepcopy", None, self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise NeedsSharedProcess("the tests pickle an object of the program")


class RemoteError(Attributes):
    """Of exceptions: what Python itself notes in one stays here."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _NOTED:
            BaseException.__setattr__(self, name, value)  # type: ignore[arg-type]
        else:
            Attributes.__setattr__(self, name, value)


class Remote(Attributes):
    __slots__ = ("__weakref__",)

    def __repr__(self) -> str:
        return str(type(self)._peer_.ask("op", "__repr__", self))

    def __str__(self) -> str:
        return str(type(self)._peer_.ask("op", "__str__", self))

    def __format__(self, spec: str) -> str:
        return str(type(self)._peer_.ask("op", "__format__", self, spec))

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return type(self)._peer_.ask("get", "__dict__", self)


class RemoteMeta(abc.ABCMeta):
    """The class of classes that stand for the other side's."""

    _peer_: Peer

    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any], **more: Any) -> RemoteMeta:
        if "_peer_" not in space:
            raise NeedsSharedProcess(f"the tests derive {name!r} from a class of the program")
        return super().__new__(cls, name, bases, space)

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        return cls._peer_.construct(cls, arguments, named)

    def __getattr__(cls, name: str) -> Any:
        if name in _NEVER or name.startswith("_abc_"):
            raise AttributeError(name)
        return cls._peer_.get(cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name in _NEVER or name.startswith("_abc_"):
            type.__setattr__(cls, name, value)
        else:
            cls._peer_.ask("set", name, cls, value)

    def __delattr__(cls, name: str) -> None:
        cls._peer_.ask("delete", name, cls)

    def __getitem__(cls, key: Any) -> Any:
        return cls._peer_.ask("item", None, cls, key)

    def __dir__(cls) -> list[str]:
        found: list[str] = cls._peer_.ask("dir", None, cls)
        return found


class RemoteEnumMeta(enum.EnumMeta):
    """Of enumerations: their members are here, with values that are plain."""

    _peer_: Peer

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        try:
            return super().__call__(*arguments, **named)
        except ValueError:
            return cls._peer_.call(cls, arguments, named)

    def __getattr__(cls, name: str) -> Any:
        members = cls.__dict__.get("_member_map_", {})
        if name in members:
            return members[name]
        if name.startswith("_") or "_peer_" not in cls.__dict__:
            raise AttributeError(name)
        return cls._peer_.get(cls, name)


class RemoteFunction:
    # Calls a function of the other side. Its docstring, too, is that function's.

    __slots__ = ("__weakref__", "_name_", "_peer_")

    def __init__(self, peer: Peer, name: str) -> None:
        object.__setattr__(self, "_peer_", peer)
        object.__setattr__(self, "_name_", name)

    def __call__(self, /, *arguments: Any, **named: Any) -> Any:
        return self._peer_.call(self, arguments, named)

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else types.MethodType(self, owner)

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return types.FunctionType

    @property
    def __name__(self) -> str:
        return self._name_

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return self._peer_.get(self, "__doc__")

    @property
    def __signature__(self) -> inspect.Signature:
        return signature(self._peer_.ask("signature", None, self))

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        return {}

    def __getattr__(self, name: str) -> Any:
        if name in _NEVER:
            raise AttributeError(name)
        return self._peer_.get(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer_.ask("set", name, self, value)

    def __delattr__(self, name: str) -> None:
        self._peer_.ask("delete", name, self)

    def __dir__(self) -> list[str]:
        found: list[str] = self._peer_.ask("dir", None, self)
        return found

    def __repr__(self) -> str:
        return str(self._peer_.ask("op", "__repr__", self))


class RemoteAwaitable:
    """What an ``async def`` of the other side returns: it runs there once it is awaited."""

    __slots__ = ("__weakref__", "_peer_")

    def __init__(self, peer: Peer) -> None:
        self._peer_ = peer

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._peer_.awaited(self)

    def close(self) -> None:
        self._peer_.ask("close", None, self)


RemoteFunction.__module__ = property(lambda self: self._peer_.get(self, "__module__"))  # type: ignore[assignment]


def signature(told: Any) -> inspect.Signature:
    """Of (name, kind, whether there is a default, the default, annotation) for each parameter, and what is returned."""
    parameters, returned = told
    empty = inspect.Parameter.empty
    return inspect.Signature(
        [
            inspect.Parameter(
                name, inspect._ParameterKind(kind), default=default if there else empty, annotation=annotation[0] if annotation else empty
            )
            for name, kind, there, default, annotation in parameters
        ],
        return_annotation=returned[0] if returned else empty,
        __validate_parameters__=False,
    )


def _special(name: str) -> Callable[..., Any]:
    def method(self: Any, /, *arguments: Any) -> Any:
        return type(self)._peer_.operate(name, self, arguments)

    method.__name__ = name
    return method


def _call(self: Any, /, *arguments: Any, **named: Any) -> Any:
    return type(self)._peer_.call(self, arguments, named)


_METHODS = {name: _special(name) for name in SPECIALS} | {"__call__": _call}


def adopt(peer: Peer, tag: str, atom: Any, values: list[Any]) -> Any:
    """What stands here for what the other side told of. Raises Malformed, or what making it raises."""
    try:
        make = _ADOPTED[tag]
    except (KeyError, TypeError):
        raise Malformed(f"an unknown kind of value: {str(tag)[:40]}") from None
    return make(peer, atom, values)


def _function(peer: Peer, atom: Any, values: list[Any]) -> Any:
    number, name, kind = atom
    known = peer.kept(number)
    if known is not None:
        return known
    made = RemoteFunction(peer, str(name))
    if kind != "async":
        return peer.keep(number, made)

    async def call(*arguments: Any, **named: Any) -> Any:
        return await peer.call(call, arguments, named)

    call.__name__ = call.__qualname__ = str(name)
    return peer.keep(number, call)


def _iterator(peer: Peer, atom: Any, values: list[Any]) -> Any:
    number, kind, name = atom
    known = peer.kept(number)
    if known is not None:
        return known
    if kind == "iterator":
        return peer.keep(number, RemoteIterator(peer, number, None if name is None else peer.look_up(name)))
    # A generator asks by the number, so that it does not hold itself.
    made: Any = _drawing(peer, number) if kind == "generator" else _drawing_awaited(peer, number)
    made.__name__, made.__qualname__ = name
    return peer.keep(number, made)


class RemoteIterator:
    """An iterator that is no generator: ``map``, ``zip``, those of ``itertools``."""

    __slots__ = ("__weakref__", "_kind_", "_number_", "_peer_")

    def __init__(self, peer: Peer, number: int, kind: Any) -> None:
        self._peer_, self._number_, self._kind_ = peer, number, kind

    def __iter__(self) -> RemoteIterator:
        return self

    def __next__(self) -> Any:
        return self._peer_.ask("next", self._number_)

    def __repr__(self) -> str:
        return str(self._peer_.ask("op", "__repr__", self))

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return RemoteIterator if self._kind_ is None else self._kind_


def _drawing(peer: Peer, number: int) -> Iterator[Any]:
    verb, value = "next", None
    while True:
        try:
            found = peer.ask(verb, number, value)
        except StopIteration as end:
            return end.value
        try:
            value = yield found
            verb = "next" if value is None else "send"
        except GeneratorExit:
            peer.ask("close", number)
            raise
        except BaseException as error:
            verb, value = "throw", error


async def _drawing_awaited(peer: Peer, number: int) -> AsyncIterator[Any]:
    while True:
        try:
            found = await peer.ask("anext", number)
        except StopAsyncIteration:
            return
        yield found


def _awaitable(peer: Peer, atom: Any, values: list[Any]) -> Any:
    return peer.kept(atom) or peer.keep(atom, RemoteAwaitable(peer))


def _object(peer: Peer, atom: Any, values: list[Any]) -> Any:
    known = peer.kept(atom)
    if known is not None:
        return known
    return peer.keep(atom, object.__new__(_theirs(peer, values[0])))


def _stored(peer: Peer, atom: Any, values: list[Any]) -> Any:
    kind, value = values
    if kind not in peer.theirs_made:  # it comes back to where its class is
        return _checked(type(value), kind).__new__(kind, value)
    if not peer.trusts(kind) and not hasattr(kind, "_fields_"):
        return value
    known = None if atom is None else peer.kept(atom)
    if known is not None:
        return known
    base = _checked(type(value), kind)
    made = base.__new__(kind, value)
    return made if atom is None else peer.keep(atom, made)


def _checked(base: type, kind: type) -> Any:
    if base not in kind.__mro__:
        raise Malformed(f"a {base.__name__} for a {kind.__name__}")
    return base


def _contained(peer: Peer, atom: Any, values: list[Any]) -> Any:
    kind, value = values
    return _object(peer, atom, [kind]) if peer.trusts(_theirs(peer, kind)) else value


def _theirs(peer: Peer, kind: Any) -> type:
    if kind not in peer.theirs_made:
        raise Malformed("an instance of what is no class of the other side")
    return kind  # type: ignore[no-any-return]


def _member(peer: Peer, atom: Any, values: list[Any]) -> Any:
    kind, value = values
    return kind(value) if atom is None else kind._member_map_[atom]


def _error(peer: Peer, atom: Any, values: list[Any]) -> Any:
    kind, arguments, flat, cause = values
    known = None if atom is None else peer.kept(atom)
    if known is not None:
        return known
    if not (isinstance(kind, type) and issubclass(kind, BaseException)) or type(arguments) is not tuple:
        raise Malformed("no exception")
    try:
        error = kind.__new__(kind, *arguments) if isinstance(kind, RemoteMeta) else kind(*arguments)
    except Exception:
        error = kind.__new__(kind)
    BaseException.__setattr__(error, "args", arguments)
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        BaseException.__setattr__(error, name, value)
    if isinstance(cause, BaseException):
        BaseException.__setattr__(error, "__cause__", cause)
    return error if atom is None else peer.keep(atom, error)


def _class(peer: Peer, atom: Any, values: list[Any]) -> Any:
    number, facts = atom
    known = peer.kept(number)
    if known is not None:
        return known
    if facts is None:
        raise Malformed("a class that was not told of")
    bases = values[: facts["bases"]]
    if facts["kind"] == "enum":
        made = _enumeration(peer, facts, values[facts["bases"] :])
    else:
        made = _mirrored(peer, facts, bases, values[facts["bases"] :])
    peer.theirs_made.add(made)
    peer.their_numbers[id(made)] = number
    peer.theirs[number] = lambda: made
    return made


def _space(peer: Peer, facts: Any) -> dict[str, Any]:
    names = {name: str(facts[name]) for name in ("qualname", "module")}
    return {"_peer_": peer, "__module__": names["module"], "__qualname__": names["qualname"]}


def _mirrored(peer: Peer, facts: Any, bases: list[Any], values: list[Any]) -> type:
    space = _space(peer, facts)
    for name in facts["specials"]:
        space[name] = _METHODS[name]
    if not facts["hashable"]:
        space["__hash__"] = None
    space["_inherited_"] = frozenset(facts["inherited"])
    kind = facts["kind"]
    first: list[type] = []
    if kind == "error":
        first = [RemoteError]
        bases = [base for base in bases if issubclass(base, BaseException)] or [Exception]
    elif kind in _STORED:
        first = [Attributes]
        bases = [base for base in bases if _STORED[kind] in base.__mro__] or [_with_fields(facts, values) or _STORED[kind]]
    else:
        space["__slots__"] = ()
        bases = [base for base in bases if isinstance(base, RemoteMeta)]
        first = [] if bases else [Remote]
    if "dataclass" in facts:
        space["__dataclass_fields__"] = {str(name): _field(str(name)) for name in facts["dataclass"]}
    if facts["known"] is not None and (known := peer.look_up(facts["known"])) is not None:
        space["__class__"] = property(lambda self: known)
    if "fields" in facts:
        space["_fields_"] = True
    order = [base for base in first if not any(base in other.__mro__ for other in bases)] + bases
    made = RemoteMeta(str(facts["name"]), tuple(dict.fromkeys(order)), space)
    for name in facts["abcs"]:
        if isinstance(known := peer.look_up(name), abc.ABCMeta):
            known.register(made)
    return made


def _with_fields(facts: Any, values: list[Any]) -> type | None:
    if "fields" not in facts:
        return None
    made: Any = collections.namedtuple(str(facts["name"]), facts["fields"])  # type: ignore[misc]  # noqa: PYI024
    made._field_defaults = dict(values[0])
    return made  # type: ignore[no-any-return]


def _field(name: str) -> Any:
    field: Any = dataclasses.field()
    field.name, field.type, field._field_type = name, object, dataclasses._FIELD  # type: ignore[attr-defined]
    return field


def _enumeration(peer: Peer, facts: Any, values: list[Any]) -> type:
    base = peer.look_up(facts["mixed"])
    if not isinstance(base, enum.EnumMeta):
        raise Malformed("no enumeration")
    stored = _STORED.get(facts["stored"])
    bases = (base,) if stored is None or stored in base.__mro__ else (stored, base)

    def fill(space: Any) -> None:
        space["__module__"], space["__qualname__"] = str(facts["module"]), str(facts["qualname"])
        for name, value in zip(facts["members"], values, strict=True):
            space[str(name)] = value

    made: Any = types.new_class(str(facts["name"]), bases, {"metaclass": RemoteEnumMeta}, fill)
    type.__setattr__(made, "_peer_", peer)
    type.__setattr__(made, "__getattr__", _member_attribute)
    for name in facts["specials"]:
        type.__setattr__(made, name, _METHODS[name])
    return made  # type: ignore[no-any-return]


def _member_attribute(self: Any, name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return type(self)._peer_.get(self, name)


_ADOPTED: dict[str, Callable[[Any, Any, list[Any]], Any]] = {
    "function": _function,
    "iterator": _iterator,
    "awaitable": _awaitable,
    "object": _object,
    "stored": _stored,
    "contained": _contained,
    "member": _member,
    "error": _error,
    "class": _class,
}
