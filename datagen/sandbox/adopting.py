"""Creates the local value or proxy for an object that the other side of a judged run sent."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import mirroring, type_hints
from .proxies import RemoteAwaitable, RemoteFunction, RemoteIterator, RemoteMeta, drawing, drawing_awaited
from .wire import Malformed

if TYPE_CHECKING:
    from .peer import Peer


def adopt(peer: Peer, tag: str, atom: Any, values: list[Any]) -> Any:
    """The local value or proxy for a node from the other side.

    Raises Malformed, or the error that creating it raises.
    """
    try:
        make = _ADOPTED[tag]
    except (KeyError, TypeError):
        raise Malformed(f"unknown kind of value: {str(tag)[:40]}") from None
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
    # A generator uses the number in its requests, so that it holds no reference to itself.
    made: Any = drawing(peer, number) if kind == "generator" else drawing_awaited(peer, number)
    made.__name__, made.__qualname__ = name
    return peer.keep(number, made)


def _awaitable(peer: Peer, atom: Any, values: list[Any]) -> Any:
    return peer.kept(atom) or peer.keep(atom, RemoteAwaitable(peer))


def _object(peer: Peer, atom: Any, values: list[Any]) -> Any:
    known = peer.kept(atom)
    if known is not None:
        return known
    return peer.keep(atom, object.__new__(_theirs(peer, values[0])))


def _stored(peer: Peer, atom: Any, values: list[Any]) -> Any:
    kind, value = values
    if kind not in peer.theirs_made:  # the class is one of this side: the value comes back
        return _checked(type(value), kind).__new__(kind, value)
    if not peer.trusts(kind) and not any("_stays_" in base.__dict__ for base in kind.__mro__):
        return value
    known = None if atom is None else peer.kept(atom)
    if known is not None:
        return known
    base = _checked(type(value), kind)
    made = base.__new__(kind, value)
    return made if atom is None else peer.keep(atom, made)


def _checked(base: type, kind: type) -> Any:
    if base not in kind.__mro__:
        raise Malformed(f"expected a {kind.__name__}, got a {base.__name__}")
    return base


def _contained(peer: Peer, atom: Any, values: list[Any]) -> Any:
    kind, value = values
    return _object(peer, atom, [kind]) if peer.trusts(_theirs(peer, kind)) else value


def _theirs(peer: Peer, kind: Any) -> type:
    if kind not in peer.theirs_made:
        raise Malformed("the class of an instance is not a class of the other side")
    return kind  # type: ignore[no-any-return]


def _member(peer: Peer, atom: Any, values: list[Any]) -> Any:
    kind, value = values
    if not isinstance(kind, enum.EnumMeta):
        raise Malformed("the class of an enumeration member is not an enumeration")
    return kind(value) if atom is None else kind._member_map_[atom]


def _error(peer: Peer, atom: Any, values: list[Any]) -> Any:
    kind: Any
    kind, arguments, flat, cause = values
    known = None if atom is None else peer.kept(atom)
    if known is not None:
        return known
    if not isinstance(kind, type) or BaseException not in kind.__mro__ or type(arguments) is not tuple:
        raise Malformed("not an exception")
    made: Any = kind
    try:
        error = made.__new__(made, *arguments) if RemoteMeta in type(made).__mro__ else made(*arguments)
    except Exception:
        if BaseExceptionGroup in made.__mro__:
            raise Malformed("an exception group contains a value that is not an exception") from None
        error = made.__new__(made)
    BaseException.__setattr__(error, "args", arguments)
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        BaseException.__setattr__(error, name, value)
    if isinstance(cause, BaseException):
        BaseException.__setattr__(error, "__cause__", cause)
    return error if atom is None else peer.keep(atom, error)


def _variable(peer: Peer, atom: Any, values: list[Any]) -> Any:
    known = peer.kept(atom)
    if known is not None:
        return known
    try:
        return peer.keep(atom, type_hints.variable(*values))
    except (TypeError, ValueError) as error:
        raise Malformed(f"invalid type variable: {error}") from None


def _typed(peer: Peer, atom: Any, values: list[Any]) -> Any:
    known = peer.kept(atom)
    if known is not None:
        return known
    try:
        return peer.keep(atom, type_hints.typed_dict(*values))
    except (TypeError, ValueError) as error:
        raise Malformed(f"invalid TypedDict: {error}") from None


_ADOPTED: dict[str, Callable[[Any, Any, list[Any]], Any]] = {
    "function": _function,
    "iterator": _iterator,
    "awaitable": _awaitable,
    "object": _object,
    "stored": _stored,
    "contained": _contained,
    "member": _member,
    "error": _error,
    "class": mirroring.mirrored_class,
    "variable": _variable,
    "typed": _typed,
}
