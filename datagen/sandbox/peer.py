"""One side of the conversation in a judged run. It sends requests, and serves requests while it waits."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import adopting, describing, wire
from .sharing import Shared
from .wire import Malformed, MessageEncoder, Node


class Peer:
    """One side of the conversation. ``side``: 0 for the judge (the tests), 1 for the subject (the program).

    Objects that are not plain data stay in their process. Their side gives them a number (``mine``). The
    other side has a proxy (``theirs``), which forwards calls, attribute access and operators.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        #: Whether built-in functions are sent by name: tests may pass ``len`` to the program, but not vice
        #: versa.
        self.tells_builtins = side == 0
        #: Local classes that mirror classes of the other side.
        self.theirs_made: set[type] = set()
        self.shared = Shared(side, always=side == 0)
        self.mine: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}
        self.theirs: dict[int, Callable[[], Any]] = {}
        self.their_numbers: dict[int, int] = {}
        self.shapes: dict[type, describing.Shape] = {}
        #: The socket to the other side.
        self.channel: Any = None
        self._gone: list[int] = []
        self._last = 0
        self._turn = threading.RLock()
        #: The event loop that runs coroutines of this side that the other side awaits.
        self.loop: Any = None

    # Messages.

    def ask(self, verb: str, atom: Any, *values: Any) -> Any:
        """Send a request and return its answer. Raises what the other side raises.

        Serves requests of the other side while it waits.
        """
        with self._turn:
            self.say(verb, atom, list(values))
            while True:
                said, about, found = self.hear()
                if said == "return":
                    return found[0]
                if said == "raise":
                    raise self.raised(found[0], verb, atom)
                self.answer(said, about, found)

    def answer(self, verb: str, atom: Any, values: list[Any]) -> None:
        """Serve a request and send the outcome."""
        reply, told = self.outcome(verb, atom, values)
        self.say(reply, None, told)

    def outcome(self, verb: str, atom: Any, values: list[Any]) -> tuple[str, list[Any]]:
        """Serve a request. Returns the verb and values of the answer. Empties ``values``."""
        try:
            return "return", [self.do(verb, atom, values)]
        except BaseException as error:
            return "raise", [self.raising(error)]
        finally:
            values.clear()

    def say(self, verb: str, atom: Any, values: list[Any]) -> None:
        """Send a message. Empties ``values``, so that both sides forget objects that nothing else holds."""
        changed = self.shared.changes()
        encoder = MessageEncoder(self)
        slots = [encoder.slot(value) for value in values]
        changes = [encoder.slot(held) for held in changed]
        encoder.finish()
        encoder.release()
        values.clear()
        changed.clear()
        gone, self._gone = self._gone, []
        wire.send(
            self.channel,
            [verb, atom, slots, encoder.nodes, changes, self.shared.dropped(), gone, self.beside()],
        )

    def hear(self) -> tuple[str, Any, list[Any]]:
        message = wire.receive(self.channel)
        if type(message) is not list or len(message) != 8:
            raise Malformed("no message")
        verb, atom, slots, nodes, _, dropped, gone, beside = message
        self.heard(beside)
        decoder = wire.MessageDecoder(nodes, self)
        values = [decoder.value(slot) for slot in slots]
        if verb in ("return", "raise") and len(values) != 1:
            raise Malformed("an answer without a value")
        if verb == "raise" and not isinstance(values[0], BaseException):
            raise Malformed("something is raised that is no exception")
        self.shared.drop(dropped)
        for number in gone:
            held = self.mine.pop(number)
            del self.numbers[id(held)]
        return verb, atom, values

    # Hooks that each side overrides.

    if TYPE_CHECKING:

        def do(self, verb: str, atom: Any, values: list[Any]) -> Any:
            """Carry out a request of the other side. Raises Malformed for an unknown request."""

    def beside(self) -> Any:
        """Extra data that is sent with every message."""
        return None

    def heard(self, beside: Any) -> None:
        """Process the extra data of a received message."""

    def raising(self, error: BaseException) -> BaseException:
        """The exception to send in place of one that was raised here."""
        return error

    def raised(self, error: BaseException, verb: str, atom: Any) -> BaseException:
        """The exception to raise here in place of one that the other side sent for this request."""
        return error

    def named(self, name: str) -> Any:
        """The class or function with this name. Raises Malformed."""
        raise Malformed(name)

    def trusts(self, kind: type) -> bool:
        """Whether instances of this class stay proxies although they could be plain values."""
        return True

    def module(self, name: str) -> Any:
        raise Malformed(name)

    # Calls, operators and objects.

    def call(self, target: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        return self.ask("call", [len(arguments), *named], target, *arguments, *named.values())

    def operate(self, name: str, target: Any, arguments: Sequence[Any]) -> Any:
        """Call a special method of an object of the other side."""
        return self.ask("op", name, target, *arguments)

    def get(self, target: Any, name: str) -> Any:
        return self.ask("get", name, target)

    def construct(self, kind: type, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Create an instance of a class of the other side."""
        return self.call(kind, arguments, named)

    def awaited(self, awaitable: Any) -> Generator[None, None, Any]:
        """Run an awaitable of the other side, alternating with the coroutines of this side."""
        task = self.ask("start", None, awaitable)
        done = False
        try:
            while True:
                done, value = self.ask("step", task)
                if done:
                    return value
                yield
        finally:
            if not done:
                self.ask("cancel", task)

    def look_up(self, name: str) -> Any:
        """The class with this name; None if this side has none."""
        try:
            return self.named(name)
        except Malformed:
            return None

    def export(self, value: Any) -> int:
        """The number of an object that stays on this side."""
        number = self.numbers.get(id(value))
        if number is None:
            self._last += 1
            number = self.numbers[id(value)] = self._last
            self.mine[number] = value
        return number

    def keep(self, number: int, proxy: Any) -> Any:
        """Register ``proxy`` for the object that has this number on the other side."""
        where = id(proxy)
        self.their_numbers[where] = number
        if number in self._gone:
            self._gone.remove(number)
        try:
            self.theirs[number] = weakref.ref(proxy, lambda _: self._lost(number, where))
        except TypeError:  # no weak reference is possible; such values are few and small
            self.theirs[number] = lambda: proxy
        return proxy

    def kept(self, number: int) -> Any:
        """The proxy with this number; None if there is none yet, or no longer."""
        found = self.theirs.get(number)
        return None if found is None else found()

    def _lost(self, number: int, where: int) -> None:
        if self.their_numbers.get(where) == number:
            del self.their_numbers[where]
        self.theirs.pop(number, None)
        self._gone.append(number)

    def refer(self, value: Any, encoder: MessageEncoder) -> Node:
        return describing.node(self, value, encoder)

    def adopt(self, tag: str, atom: Any, values: list[Any]) -> Any:
        if tag == "yours":
            return self.mine[atom]
        if tag == "module":
            return self.module(atom)
        if tag in ("type", "builtin"):
            return self.named(atom)
        return adopting.adopt(self, tag, atom, values)
