"""Proxies of objects on the other side of a judged run: functions, classes, instances, iterators, errors.

A local class mirrors a class of the other side: the same name, the bases that matter to ``isinstance`` and
``except``, and the special methods that it defines. Each object has one proxy, so identity is preserved.
"""

from __future__ import annotations

import abc
import enum
import inspect
import types
from collections.abc import AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING, Any

from .failing import NeedsSharedProcess
from .specials import SPECIALS

if TYPE_CHECKING:
    from .peer import Peer

#: Attributes that Python itself looks up in a class and that no proxy has.
_NEVER = frozenset(
    (
        "__array_function__",
        "__array_ufunc__",
        "__isabstractmethod__",
        "__set_name__",
        "__abstractmethods__",
        "__mro_entries__",
        "__objclass__",
    )
)

_NOTED = frozenset(("__traceback__", "__cause__", "__context__", "__suppress_context__", "__notes__"))


class Attributes:
    """Base of proxies of instances. Attributes that are missing here are requested from the other side."""

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
    """Base of proxies of exceptions. Attributes that Python itself sets on exceptions stay local."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _NOTED:
            BaseException.__setattr__(self, name, value)
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
    """Metaclass of the classes that mirror classes of the other side."""

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
    """Metaclass of mirrored enumerations. Their members are local and have plain values."""

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
    # Proxy of a function. It has no docstring of its own, so that ``__doc__`` is that of the function.

    __slots__ = ("__weakref__", "_name_", "_peer_")

    def __init__(self, peer: Peer, name: str) -> None:
        object.__setattr__(self, "_peer_", peer)
        object.__setattr__(self, "_name_", name)

    def __call__(self, /, *arguments: Any, **named: Any) -> Any:
        return self._peer_.call(self, arguments, named)

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else types.MethodType(self, owner)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return types.FunctionType

    @property
    def __name__(self) -> str:
        return str(self._name_)

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
    """Proxy of a coroutine of the other side. It runs there when it is awaited here."""

    __slots__ = ("__weakref__", "_peer_")

    def __init__(self, peer: Peer) -> None:
        self._peer_ = peer

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._peer_.awaited(self)

    def close(self) -> None:
        self._peer_.ask("close", None, self)


RemoteFunction.__module__ = property(lambda self: self._peer_.get(self, "__module__"))  # type: ignore[assignment]


def signature(told: Any) -> inspect.Signature:
    """Build a signature from its description: a list of parameters, and the return annotation.

    A parameter is described by (name, kind, whether it has a default, the default, its annotation).
    """
    parameters, returned = told
    empty = inspect.Parameter.empty
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect._ParameterKind(kind),
                default=default if there else empty,
                annotation=annotation[0] if annotation else empty,
            )
            for name, kind, there, default, annotation in parameters
        ],
        return_annotation=returned[0] if returned else empty,
        __validate_parameters__=False,
    )


def _special(name: str) -> Callable[..., Any]:
    def method(self: Any, /, *arguments: Any) -> Any:
        return type(self)._peer_.operate(name, self, arguments)

    if name in ("__exit__", "__aexit__"):
        # A traceback cannot be sent.
        def leave(self: Any, kind: Any, error: Any, trace: Any) -> Any:
            return type(self)._peer_.operate(name, self, (kind, error, None))

        leave.__name__ = name
        return leave
    method.__name__ = name
    return method


def _call(self: Any, /, *arguments: Any, **named: Any) -> Any:
    return type(self)._peer_.call(self, arguments, named)


METHODS = {name: _special(name) for name in SPECIALS} | {"__call__": _call}


class RemoteIterator:
    """Proxy of an iterator that is not a generator, such as ``map``, ``zip`` or those of ``itertools``."""

    __slots__ = ("__weakref__", "_kind_", "_number_", "_peer_")

    def __init__(self, peer: Peer, number: int, kind: Any) -> None:
        self._peer_, self._number_, self._kind_ = peer, number, kind

    def __iter__(self) -> RemoteIterator:
        return self

    def __next__(self) -> Any:
        return self._peer_.ask("next", self._number_)

    def __repr__(self) -> str:
        return str(self._peer_.ask("op", "__repr__", self))

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return RemoteIterator if self._kind_ is None else self._kind_


def drawing(peer: Peer, number: int) -> Generator[Any, Any, Any]:
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


async def drawing_awaited(peer: Peer, number: int) -> AsyncIterator[Any]:
    while True:
        try:
            found = await peer.ask("anext", number)
        except StopAsyncIteration:
            return
        yield found
