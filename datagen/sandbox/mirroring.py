"""Creates the local classes that mirror classes of the other side of a judged run."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import types
from typing import TYPE_CHECKING, Any

from .proxies import METHODS, Attributes, Remote, RemoteEnumMeta, RemoteError, RemoteMeta
from .wire import Malformed

if TYPE_CHECKING:
    from .peer import Peer

_STORED: dict[str, type] = {
    kind.__name__: kind for kind in (int, float, complex, str, bytes, tuple, frozenset)
}
_CONTAINED: dict[str, type] = {kind.__name__: kind for kind in (list, dict, set, bytearray)}


def mirrored_class(peer: Peer, atom: Any, values: list[Any]) -> Any:
    number, facts = atom
    known = peer.kept(number)
    if known is not None:
        return known
    if facts is None:
        raise Malformed("unknown class")
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
    doc = None if facts["doc"] is None else str(facts["doc"])
    return {"_peer_": peer, "__module__": names["module"], "__qualname__": names["qualname"], "__doc__": doc}


def _mirrored(peer: Peer, facts: Any, bases: list[Any], values: list[Any]) -> type:
    space = _space(peer, facts)
    for name in facts["specials"]:
        space[name] = METHODS[name]
    if not facts["hashable"]:
        space["__hash__"] = None
    space["_inherited_"] = frozenset(facts["inherited"])
    kind = facts["kind"]
    first: list[type] = []
    if kind == "error":
        first = [RemoteError]
        bases = [base for base in bases if issubclass(base, BaseException)] or [Exception]
        if any(issubclass(base, BaseExceptionGroup) for base in bases):
            space["derive"] = _derived
    elif kind in _STORED:
        first = [Attributes]
        bases = [base for base in bases if _STORED[kind] in base.__mro__] or [
            _with_fields(facts, values) or _STORED[kind]
        ]
    else:
        space["__slots__"] = ()
        if kind in _CONTAINED:
            container = type(str(facts["name"]), (_CONTAINED[kind],), {"__module__": str(facts["module"])})
            space["__class__"] = property(lambda self: container)  # for ``isinstance``
        bases = [base for base in bases if isinstance(base, RemoteMeta)]
        first = [] if bases else [Remote]
    if "dataclass" in facts:
        space["__dataclass_fields__"] = {str(name): _field(str(name)) for name in facts["dataclass"]}
    if facts["known"] is not None and (known := peer.look_up(facts["known"])) is not None:
        space["__class__"] = property(lambda self: known)
    if "fields" in facts or facts["extends"]:
        space["_stays_"] = True
    order = [base for base in first if not any(base in other.__mro__ for other in bases)] + bases
    made = RemoteMeta(str(facts["name"]), tuple(dict.fromkeys(order)), space)
    for name in facts["abcs"]:
        base = peer.look_up(name)
        if isinstance(base, abc.ABCMeta):
            abc.ABCMeta.register(base, made)  # type: ignore[arg-type]
    return made


def _derived(self: Any, errors: Any) -> Any:
    """A group of some of the exceptions, for ``except*`` and ``split``, created by the program's method."""
    return type(self)._peer_.get(self, "derive")(errors)


def _with_fields(facts: Any, values: list[Any]) -> type | None:
    if "fields" not in facts:
        return None
    made: Any = collections.namedtuple(str(facts["name"]), facts["fields"])  # type: ignore[misc]
    made._field_defaults = values[0]  # not a copy: this dictionary is filled later
    return made


def _field(name: str) -> Any:
    field: Any = dataclasses.field()
    field.name, field.type, field._field_type = name, object, dataclasses._FIELD  # type: ignore[attr-defined]
    return field


def _enumeration(peer: Peer, facts: Any, values: list[Any]) -> type:
    base = peer.look_up(facts["mixed"])
    if not isinstance(base, enum.EnumMeta):
        raise Malformed("not an enumeration")
    stored = _STORED.get(facts["stored"])
    bases = (base,) if stored is None or stored in base.__mro__ else (stored, base)

    def fill(space: Any) -> None:
        space["__module__"], space["__qualname__"] = str(facts["module"]), str(facts["qualname"])
        for name, value in zip(facts["members"], values, strict=True):
            if type(name) is not str or not name.isidentifier() or name.startswith("__"):
                raise Malformed("an enumeration member has an invalid name")
            space[name] = value

    made: Any = types.new_class(str(facts["name"]), bases, {"metaclass": RemoteEnumMeta}, fill)
    type.__setattr__(made, "_peer_", peer)
    type.__setattr__(made, "__getattr__", _member_attribute)
    for name in facts["specials"]:
        type.__setattr__(made, name, METHODS[name])
    return made  # type: ignore[no-any-return]


def _member_attribute(self: Any, name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return type(self)._peer_.get(self, name)
