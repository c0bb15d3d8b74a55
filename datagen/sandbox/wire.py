"""The message format of a judged run: bounded JSON messages that preserve exact values and identity.

A message is a table of nodes, and slots that refer to them. A slot is a plain scalar, or ``[n]`` for node n.
A node is ``[tag, atom, slots]``. So shared references and cycles are preserved, and nesting needs no
recursion.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

from . import values
from .sharing import Mark, Shared

#: Maximum length of a message, in bytes. A longer one ends the conversation.
LONGEST = 16 * 2**20
_LENGTH = struct.Struct("!I")
_WIDEST = 2**63
_encode = json.JSONEncoder(separators=(",", ":")).encode
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
Node = list[Any]


class Malformed(Exception):
    """The other side sent an invalid or too long message."""


def send(channel: socket.socket, message: Sequence[Any]) -> None:
    """Send a message. Raises Malformed if it is too long, OSError if the connection is closed."""
    body = _encode(message).encode()
    if len(body) > LONGEST:
        raise Malformed(f"a message of {len(body)} bytes, and {LONGEST} is the most")
    channel.sendall(_LENGTH.pack(len(body)) + body)


def receive(channel: socket.socket) -> Any:
    """Receive a message. Raises EOFError if the connection is closed, Malformed if the message is invalid."""
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    if length > LONGEST:
        raise Malformed(f"a message of {length} bytes, and {LONGEST} is the most")
    try:
        text = _exactly(channel, length).decode()
        message, end = _scan(text, 0)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from None
    except StopIteration:
        raise Malformed("no JSON") from None
    if end != len(text):
        raise Malformed("more than JSON")
    return message


def _exactly(channel: socket.socket, count: int) -> bytes:
    first = channel.recv(count)
    if len(first) == count:
        return first
    parts = bytearray(first)
    while len(parts) < count:
        more = channel.recv(min(count - len(parts), 1 << 20)) if parts else b""
        if not more:
            raise EOFError("the other side is gone")
        parts += more
    return bytes(parts)


class Side(Protocol):
    """The interface that encoder and decoder need from their side."""

    shared: Shared

    def refer(self, value: Any, encoder: MessageEncoder) -> Node:
        """The node for an object that is not plain data."""

    def adopt(self, tag: str, atom: Any, values: list[Any]) -> Any:
        """The local object for such a node of the other side. Raises Malformed."""


def plain_text(text: str) -> bool:
    """Whether JSON can carry a text unchanged: it has no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class MessageEncoder:
    """Encodes the values of one message.

    ``slot`` adds a value. ``finish`` adds the contents of all values.
    """

    def __init__(self, side: Side) -> None:
        self.nodes: list[Node | None] = []
        self._side = side
        self._seen: dict[int, int] = {}
        self._held: list[Any] = []

    def slot(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            if -_WIDEST <= value < _WIDEST:
                return value
        elif kind is float:
            if math.isfinite(value):
                return value
        elif kind is str and plain_text(value):
            return value
        index = self._seen.get(id(value))
        if index is None:
            index = self._seen[id(value)] = len(self._held)
            self._held.append(value)
        return [index]

    def slots(self, found: Sequence[Any]) -> list[Any]:
        kinds = set(map(type, found))
        if kinds <= _FLAT and _inline(kinds, found):
            return list(found)
        return [self.slot(value) for value in found]

    def finish(self) -> None:
        while len(self.nodes) < len(self._held):
            self.nodes.append(self._node(len(self.nodes)))

    def release(self) -> None:
        """Drop the references to the values, so that they can be freed."""
        self._held.clear()
        self._seen.clear()

    def _node(self, index: int) -> Node:
        kind = type(self._held[index])
        if kind is tuple:
            return ["tuple", None, self.slots(self._held[index])]
        if kind is frozenset:
            return ["frozenset", None, self.slots(list(self._held[index]))]
        if kind in CONTAINERS and not values.changed(kind):
            # Without a local variable, since the reference count is checked.
            mark, known = self._side.shared.outgoing(self._held, index)
            if known:
                return ["=", mark, []]
            return [kind.__name__, mark, self.slots(CONTAINERS[kind].parts(self._held[index]))]
        fields = values.fields(self._held[index])
        if fields is not None:
            return ["value", fields[0], self.slots(fields[1])]
        return self._side.refer(self._held[index], self)


_FLAT = {int, float, str, bool, type(None)}
#: What JSON has beside scalars.
_NESTED = frozenset((list, dict))


def _inline(kinds: set[type], found: Sequence[Any]) -> bool:
    """Whether no scalar needs a node. A fast path for the common case."""
    if len(kinds) == 1:
        if int in kinds:
            return bool(min(found) >= -_WIDEST and max(found) < _WIDEST)
        if float in kinds:
            return all(map(math.isfinite, found))
        if str in kinds:
            return all(map(str.isascii, found))
    return kinds <= {bool, type(None)}


class Container:
    """How to split a mutable container into parts, create an empty one, and fill it in place."""

    def __init__(
        self,
        parts: Callable[[Any], list[Any]],
        fill: Callable[[Any, list[Any]], None],
        make: Callable[[], Any],
    ) -> None:
        self.parts, self.fill, self.make = parts, fill, make


def _pairs(mapping: Any) -> list[Any]:
    found: list[Any] = []
    for item in dict.items(mapping):
        found += item
    return found


def _fill_mapping(kind: type[dict[Any, Any]]) -> Callable[[Any, list[Any]], None]:
    def fill(mapping: Any, parts: list[Any]) -> None:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        kind.clear(mapping)
        for key, value in pairs:
            kind.__setitem__(mapping, key, value)

    return fill


def _fill_default(mapping: Any, parts: list[Any]) -> None:
    mapping.default_factory = parts[0]
    _fill_dict(mapping, parts[1:])


def _fill_list(held: list[Any], parts: list[Any]) -> None:
    held[:] = parts


def _fill_set(held: set[Any], parts: list[Any]) -> None:
    held.clear()
    held.update(parts)


def _fill_bytes(held: bytearray, parts: list[Any]) -> None:
    held[:] = parts[0].encode("latin-1")


def _fill_array(held: Any, parts: list[Any]) -> None:
    del held[:]
    held.extend(parts[1:])


def _fill_deque(held: Any, parts: list[Any]) -> None:
    held.clear()
    held.extend(parts[1:])


_fill_dict = _fill_mapping(dict)


def _attributes(held: Any) -> list[Any]:
    return _pairs(vars(held))


def _fill_attributes(held: Any, parts: list[Any]) -> None:
    _fill_dict(vars(held), parts)


#: Container types. The parts of a deque start with its maximum length, those of an array with its type code,
#: those of a defaultdict with its factory.
CONTAINERS: dict[type, Container] = {
    list: Container(list, _fill_list, list),
    dict: Container(_pairs, _fill_dict, dict),
    set: Container(list, _fill_set, set),
    bytearray: Container(lambda held: [held.decode("latin-1")], _fill_bytes, bytearray),
    values.deque: Container(lambda held: [held.maxlen, *held], _fill_deque, values.deque),
    values.array: Container(lambda held: [held.typecode, *held], _fill_array, lambda: values.array("b")),
    values.OrderedDict: Container(_pairs, _fill_mapping(values.OrderedDict), values.OrderedDict),
    values.Counter: Container(_pairs, _fill_dict, values.Counter),
    values.defaultdict: Container(
        lambda held: [held.default_factory, *_pairs(held)], _fill_default, values.defaultdict
    ),
    SimpleNamespace: Container(_attributes, _fill_attributes, SimpleNamespace),
}
_BY_NAME = {kind.__name__: container for kind, container in CONTAINERS.items()}


class MessageDecoder:
    """Decodes the nodes of one message. Raises Malformed for an invalid node."""

    def __init__(self, nodes: Any, side: Side) -> None:
        if type(nodes) is not list:
            raise Malformed("no nodes")
        self._nodes, self._side = nodes, side
        self._built: dict[int, Any] = {}
        empty: list[tuple[Any, Container, int, Mark | None]] = []
        for index, node in enumerate(nodes):
            if type(node) is not list or len(node) != 3 or type(node[2]) is not list:
                raise Malformed("no node")
            tag, mark = node[0], node[1]
            if tag == "=":
                self._built[index] = side.shared.known(mark)
            elif tag in _BY_NAME:
                held = self._shell(node)
                self._built[index] = held
                empty.append((held, _BY_NAME[tag], index, mark))
        for index in range(len(nodes)):
            self._resolve(index)
        for held, container, index, mark in empty:
            container.fill(held, self._values(nodes[index][2]))
            if mark is not None:
                side.shared.synchronized(mark, held)

    def _shell(self, node: Node) -> Any:
        """The existing container of a mark, or a new empty one."""
        tag, mark, slots = node
        if mark is not None:
            held = self._side.shared.find(mark)
            if held is not None:
                if type(held).__name__ != tag:
                    raise Malformed("a container that changes its type")
                return held
        if tag == "deque":
            return values.deque(maxlen=slots[0])
        if tag == "array":
            return values.array(slots[0])
        return _BY_NAME[tag].make()

    def value(self, slot: Any) -> Any:
        if type(slot) is not list:
            if type(slot) is dict:
                raise Malformed("an object for a value")
            return slot
        if len(slot) != 1 or type(slot[0]) is not int or slot[0] not in self._built:
            raise Malformed("no slot")
        return self._built[slot[0]]

    def _values(self, slots: list[Any]) -> list[Any]:
        if _NESTED.isdisjoint(map(type, slots)):
            return slots[:]
        return [self.value(slot) for slot in slots]

    def _resolve(self, wanted: int) -> None:
        """Build an immutable value, after the values that it contains."""
        if wanted in self._built:
            return
        stack, entered = [wanted], set[int]()
        while stack:
            index = stack[-1]
            if index in self._built:
                stack.pop()
                continue
            node = self._nodes[index]
            missing = [
                slot[0] for slot in node[2] if type(slot) is list and slot and slot[0] not in self._built
            ]
            if missing:
                if index in entered or not all(
                    type(number) is int and 0 <= number < len(self._nodes) for number in missing
                ):
                    raise Malformed("a value that is made of itself")
                entered.add(index)
                stack += missing
                continue
            self._built[index] = self._made(*node)
            stack.pop()

    def _made(self, tag: Any, atom: Any, slots: list[Any]) -> Any:
        found = self._values(slots)
        if tag == "tuple":
            return tuple(found)
        if tag == "frozenset":
            return frozenset(found)
        if tag == "value":
            try:
                return values.made(atom, found)
            except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
                raise Malformed(f"no {atom}: {error}") from None
        return self._side.adopt(tag, atom, found)
