"""The judge of a judged run. It holds the tests and the verdict, and never loads the program."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from . import answering, describing, granting, raising, watching
from .failing import NoVerdict, SubjectGone
from .peer import Peer
from .proxies import Remote
from .specials import CALCULATING, FORGEABLE, PREDICATES, SPECIALS
from .threads import WAITING, There
from .wire import Malformed

SWALLOWED = "the program swallowed a failed assertion of its tests"
_LEAVING = ("__exit__", "__aexit__")
BROKE_OFF = "the program broke off the conversation with its tests"
_OF_OBJECTS = frozenset(("get", "set", "delete"))
_BY_NUMBER = frozenset(("next", "send", "throw", "anext", "step", "cancel"))
_VERBS = _BY_NUMBER | {
    *("call", "get", "set", "delete", "op", "close", "start", "signature", "copy", "deepcopy", "contents"),
}


class Judge(Peer):
    """The side that sends requests to the program.

    ``verdict``: the reason why there can be no verdict, once that is known. ``gone``: that reason is that the
    program's process ended. ``operators``: the program's own operators that decided a comparison.
    """

    def __init__(self) -> None:
        super().__init__(0)
        self.verdict: str | None = None
        self.gone = False
        self.operators: dict[str, None] = {}
        self.names: list[str] = []
        #: The words in the text of the tests.
        self.words: set[str] = set()
        self._trusted: set[type] = set()
        self._probed: set[tuple[type, str]] = set()
        self._spaces: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._streams = sys.stdout, sys.stderr
        self._stdin = self._first_stdin = sys.stdin
        self._filters: Sequence[Any] = []
        self._strict: list[Any] = []
        self._late: BaseException | None = None
        self._environment = watching.environment()
        self._folder = watching.folder()
        #: A new seed for ``random`` in the program's process, in a list; None if there is none.
        self.random_seed: list[Any] | None = None
        self._stale: list[str] = []
        self._asking = self._answering = self._asker = 0
        self.threads = There(self.ask)
        #: The highest number of an object of the program so far.
        self._newest = 0
        #: Whether an assertion of the tests failed while the program called them.
        self._asserted = False

    # The conversation. The subject may send anything.

    def ask(self, verb: str, atom: Any, *values: Any) -> Any:
        if verb in WAITING and not self._within() and self.threads.several():
            answer = self.threads.call(verb, atom, values)
        else:
            with self._turn:
                answer = self._ask(verb, atom, values)
        if atom in _LEAVING and answer and self._hides(values):
            raise self.no_verdict(SWALLOWED)
        return answer

    def _within(self) -> bool:
        """Whether this thread is inside a request of its own, serving a request of the program."""
        return self._asking > 0 and self._asker == threading.get_ident()

    def _ask(self, verb: str, atom: Any, values: Sequence[Any]) -> Any:
        self._asking += 1
        self._asker = threading.get_ident()
        try:
            self._tell_changes()
            answer = super().ask(verb, atom, *values)
            if self._late is not None:
                late, self._late = self._late, None
                raise late
            if self._asserted and self._asking == 1:
                raise self.no_verdict(SWALLOWED)
            return answer
        finally:
            self._asking -= 1
            if not self._asking:
                self._asserted = False
                if self._stale:
                    self._refresh()

    def _tell_changes(self) -> None:
        """Send changes that the tests made to standard input and to the warning filters."""
        if sys.stdin is not self._stdin:
            self._stdin = sys.stdin
            super().ask("patch", ["sys", "stdin"], *([] if sys.stdin is self._first_stdin else [sys.stdin]))
        if warnings.filters != self._filters:
            self._filters = list(warnings.filters)
            if (strict := watching.strict_filters()) != self._strict:
                self._strict = strict
                super().ask("filters", None, tuple(strict))

    @staticmethod
    def _hides(values: Sequence[Any]) -> bool:
        """Whether these arguments of ``__exit__`` contain a failed assertion."""
        return any(isinstance(value, AssertionError) for value in values)

    def say(self, verb: str, atom: Any, values: list[Any]) -> None:
        try:
            super().say(verb, atom, values)
        except OSError:
            raise self._ended() from None
        except Malformed as error:
            raise self.no_verdict(f"what the tests give to the program cannot be sent: {error}") from None

    def hear(self) -> tuple[str, Any, list[Any]]:
        try:
            return super().hear()
        except (NoVerdict, MemoryError):
            raise
        except (EOFError, OSError):
            raise self._ended() from None
        except Exception as error:
            raise self.no_verdict(f"{BROKE_OFF} ({type(error).__name__}: {error})") from None

    def _ended(self) -> SubjectGone:
        if self.verdict is None:
            self.verdict, self.gone = BROKE_OFF, True
        return SubjectGone(BROKE_OFF)

    def no_verdict(self, why: str) -> NoVerdict:
        """Record that there is no verdict, even if the tests catch the exception. Returns the exception."""
        self.verdict = self.verdict or why
        return NoVerdict(why)

    def raising(self, error: BaseException) -> BaseException:
        if isinstance(error, (NoVerdict, MemoryError)):
            raise error
        return error

    def raised(self, error: BaseException, verb: str, atom: Any) -> BaseException:
        if verb == "look":  # at a call in a thread
            _, verb, atom = atom
        return raising.told(error, verb, atom, self.words, given=id(error) in self.numbers)

    def beside(self) -> Any:
        more: dict[str, Any] = {}
        if self.random_seed is not None:
            more["random"], self.random_seed = self.random_seed[0], None
        if (now := watching.environment()) != self._environment:
            more["environment"], self._environment = dict(os.environ), now
        if (folder := watching.folder()) != self._folder:
            more["folder"] = self._folder = folder
        captured = [sys.stdout is not self._streams[0], sys.stderr is not self._streams[1]]
        return [captured, more or None]

    def heard(self, beside: Any) -> None:
        if beside is None:
            return
        texts, warned, stale, logs, restless = beside
        if restless is True:
            self.threads.watch()
        for name, text in zip(("stdout", "stderr"), texts, strict=True):
            if text:
                getattr(sys, name).write(str(text))
        self._stale += [str(name) for name in stale]
        for record in logs:
            watching.logged(*record)
        for name, category, text, line in warned:
            kind: Any = None if name is None else self.look_up(name)
            if not (isinstance(kind, type) and issubclass(kind, Warning)):
                kind = UserWarning
            try:
                warnings.warn_explicit(str(text), kind, "<program>", int(line), str(category))
            except Warning as error:  # raised later, when the conversation allows it
                self._late = error

    # Requests of the subject.

    def do(self, verb: str, atom: Any, values: list[Any]) -> Any:
        if verb not in _VERBS:
            raise Malformed("an unknown request")
        by_number = verb in _BY_NUMBER or (verb == "close" and type(atom) is int)
        if not by_number and (not values or id(values[0]) not in self.numbers):
            raise Malformed("a request about what was not given")
        if verb == "op" and atom not in SPECIALS:
            raise Malformed("an unknown operator")
        if verb in _OF_OBJECTS and isinstance(values[0], granting.FRAMES):
            raise AttributeError(f"{type(values[0]).__name__!r} object of the tests does not show {atom!r}")
        if verb == "get" and not granting.readable(values[0], atom):
            raise AttributeError(f"{type(values[0]).__name__!r} object of the tests does not show {atom!r}")
        if verb in ("set", "delete"):
            granting.check_changeable(values[0], atom)
        self._answering += 1
        try:
            return answering.answer(self, verb, atom, values)
        except AssertionError:
            self._asserted = True
            raise
        finally:
            self._answering -= 1

    def named(self, name: str) -> Any:
        return granting.standard_class(name)

    def module(self, name: str) -> Any:
        return granting.module(name)

    # Trust in operators of the program.

    def trust(self, kind: Any) -> None:
        """Trust the operators of this class, because the tests name it."""
        if isinstance(kind, type) and kind in self.theirs_made:
            self._trusted.add(kind)

    def trusts(self, kind: type) -> bool:
        return not self._trusted.isdisjoint(kind.__mro__)

    def construct(self, kind: type, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        self.trust(kind)
        newest = self._newest
        made = self.call(kind, arguments, named)
        if self.their_numbers.get(id(made), newest + 1) <= newest:
            # The object existed before, so it may be the very object that the tests compare it with.
            self.operators[f"{kind.__qualname__}.__new__"] = None
        return made

    def keep(self, number: int, proxy: Any) -> Any:
        self._newest = max(self._newest, number)
        return super().keep(number, proxy)

    def get(self, target: Any, name: str) -> Any:
        kind = type(target)
        if name in PREDICATES and issubclass(kind, Remote) and not self.trusts(kind):
            raise self._untrusted(kind, name)
        found = super().get(target, name)
        if isinstance(target, type):
            self.trust(found)
        return found

    def operate(self, name: str, target: Any, arguments: Sequence[Any]) -> Any:
        kind = type(target)
        stored = next((base for base in kind.__mro__ if base in describing.STORED), None)
        if stored is not None and (name in FORGEABLE or name == "__hash__") and not self.trusts(kind):
            return getattr(stored, name)(target, *arguments)
        if name not in FORGEABLE:
            return super().operate(name, target, arguments)
        # A function of the tests that the program calls may calculate with its arguments.
        given = self._answering and name in CALCULATING
        if not self.trusts(kind) and not given and id(arguments[0]) not in self.their_numbers:
            raise self._untrusted(kind, name)
        if name in kind.__dict__.get("_inherited_", ()) and not (
            name.startswith("__i") and name != "__index__"
        ):
            held = self.ask("contents", None, target)
            return getattr(type(held), name)(held, *(self._contents(value) for value in arguments))
        self._probe(kind, name, target, arguments[0])
        self.operators[f"{kind.__qualname__}.{name}"] = None
        return super().operate(name, target, arguments)

    def _contents(self, value: Any) -> Any:
        return self.ask("contents", None, value) if type(value).__dict__.get("_inherited_") else value

    def _untrusted(self, kind: type, name: str) -> NoVerdict:
        return self.no_verdict(
            f"the tests ask an object of the program for {kind.__qualname__}.{name}, and do not name "
            "that class: they would "
            "have to trust the program's own operator"
        )

    def _probe(self, kind: type, name: str, target: Any, other: Any) -> None:
        """Reject an equality that also holds for a value that the program cannot know."""
        always = {"__eq__": True, "__contains__": True, "__ne__": False}.get(name)
        if always is None or (kind, name) in self._probed:
            return
        self._probed.add((kind, name))
        try:
            said = super().operate(name, target, (watching.unknown(other),))
        except Exception:
            return
        if said is not NotImplemented and bool(said) is always:
            raise self.no_verdict(
                f"the program's {kind.__qualname__}.{name} says {said!r} whatever it is asked about"
            )

    # The names of the program.

    def load(self, program: str, *, random_seed: int | None, counted: bool = False) -> None:
        """Let the subject run the program's top level. Raises what the program raises."""
        self.threads.counted = counted
        found = self.ask("load", [random_seed, counted], program)
        if type(found) is not tuple or not all(type(name) is str for name in found):
            raise self.no_verdict(BROKE_OFF)
        self.names = list(found)

    def defines(self, name: str) -> bool:
        """Whether the program defines the name now."""
        return self.ask("defines", name) is True

    def bring(self, wanted: Iterable[str], space: dict[str, Any], bound: Collection[str] = ()) -> None:
        """Put these names of the program into a namespace, and keep their values up to date.

        ``bound``: names that the tests bind themselves. They are not updated.
        """
        names = [name for name in self.names if name in set(wanted)]
        found = self.ask("globals", names)
        if type(found) is not tuple or len(found) != len(names):
            raise self.no_verdict(BROKE_OFF)
        brought = dict(zip(names, found, strict=True))
        space.update(brought)
        self._spaces.append((space, {name: brought[name] for name in names if name not in bound}))

    def global_value(self, name: str) -> Any:
        (value,) = self.ask("globals", [name])
        return value

    def _refresh(self) -> None:
        stale, self._stale = self._stale, []
        for space, brought in self._spaces:
            names = [name for name in stale if name in brought and space.get(name) is brought[name]]
            for name, value in zip(names, self.ask("globals", names) if names else (), strict=False):
                space[name] = brought[name] = value
