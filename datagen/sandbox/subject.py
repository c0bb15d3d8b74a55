"""The program's side of a judged run.

It loads the program and serves requests of the tests. It never sees the tests or the reference.
"""

from __future__ import annotations

import io
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from . import answering, describing
from .defining import define, seed
from .peer import Peer
from .threads import Here
from .wire import Malformed

_PID, _EXIT = os.getpid, os._exit


class Subject(Peer):
    def __init__(self) -> None:
        super().__init__(1)
        self.space: dict[str, Any] = {}
        self.threads = Here(self._turn)
        self.count: Any = None
        self._printed = _Printed("stdout"), _Printed("stderr")
        self._warned: list[Any] = []
        self._logged: list[Any] = []
        self._patched: dict[tuple[str, str], Any] = {}
        self._watched: dict[str, Any] = {}

    def serve(self) -> NoReturn:
        """Serve the judge until it closes the connection. Then raises EOFError or OSError."""
        warnings.simplefilter("always")
        warnings.showwarning = self._warn  # type: ignore[assignment]
        me = _PID()
        while True:
            verb, atom, values = self.hear()
            self.threads.listening()
            self.threads.answer(partial(self._reply, *self.outcome(verb, atom, values)))
            if _PID() != me:
                _EXIT(0)  # this is a child that the code under test forked

    def _reply(self, reply: str, told: list[Any]) -> None:
        try:
            self.say(reply, None, told)
        except Malformed as error:
            self.say("raise", None, [ValueError(f"what the program answers cannot be sent: {error}")])

    def do(self, verb: str, atom: Any, values: list[Any]) -> Any:
        me = _PID()
        own = _OWN.get(verb)
        try:
            return answering.answer(self, verb, atom, values) if own is None else own(self, atom, values)
        finally:
            if _PID() != me:
                _EXIT(0)

    def beside(self) -> Any:
        texts, warned, logged = [printed.drained() for printed in self._printed], self._warned, self._logged
        self._warned, self._logged = [], []
        stale = []
        for name, value in self._watched.items():
            if name in self.space and self.space[name] is not value:
                stale.append(name)
                self._watched[name] = self.space[name]
        restless = self.threads.restless()
        told = any(texts) or warned or stale or logged or restless
        return [texts, warned, stale, logged, restless] if told else None

    def ask(self, verb: str, atom: Any, *values: Any) -> Any:
        return self.threads.ask(partial(super().ask, verb, atom, *values))

    def heard(self, beside: Any) -> None:
        captured, more = beside
        for printed, here in zip(self._printed, captured, strict=True):
            printed.capture(here)
        if more is None:
            return
        if "random" in more:
            random.seed(more["random"])
            numpy = sys.modules.get("numpy.random")
            if numpy is not None and isinstance(more["random"], int):
                numpy.seed(more["random"] % 2**32)
        if "environment" in more:
            os.environ.clear()
            os.environ.update(more["environment"])
        if "folder" in more:
            os.chdir(more["folder"])

    def named(self, name: str) -> Any:
        module, _, path = name.partition(":")
        __import__(module)
        found: Any = sys.modules[module]
        for part in path.split("."):
            found = getattr(found, part)
        return found

    def module(self, name: str) -> Any:
        __import__(name)
        return sys.modules[name]

    def load(self, atom: Any, values: list[Any]) -> tuple[str, ...]:
        """Run the program's top level and return the names that it defines. Raises what that raises."""
        (source,) = values
        random_seed, counted = atom
        seed(random_seed)
        if counted:
            from .counting import LineCount

            self.count = LineCount()
            self.count.start()
        self.space = define(source, "program", "<program>")
        return tuple(name for name in self.space if type(name) is str)

    def defines(self, atom: Any, values: list[Any]) -> bool:
        return atom in self.space

    def globals(self, atom: Any, values: list[Any]) -> Any:
        """The current values of these names.

        They are in a tuple, which cannot be confused with a list of the program.
        """
        found = tuple(self.space[name] for name in atom)
        self._watched |= zip(atom, found, strict=True)
        return found

    def set_global(self, atom: Any, values: list[Any]) -> None:
        self.space[atom] = values[0]

    def delete_global(self, atom: Any, values: list[Any]) -> None:
        del self.space[atom]

    def patch(self, atom: Any, values: list[Any]) -> None:
        """Replace an attribute of a module, or restore the original one."""
        name, attribute = atom
        module = self.module(name)
        self._patched.setdefault((name, attribute), getattr(module, attribute, None))
        setattr(module, attribute, values[0] if values else self._patched[name, attribute])

    def filters(self, atom: Any, values: list[Any]) -> None:
        """Raise those warnings that the tests turn into errors. All others are sent to the tests."""
        warnings.resetwarnings()
        warnings.simplefilter("always")
        warnings.filters[:0] = [  # type: ignore[index]
            (action if action == "error" else "always", *rest) for action, *rest in values[0]
        ]
        warnings._filters_mutated()  # type: ignore[attr-defined]

    def begin(self, atom: Any, values: list[Any]) -> int:
        """Serve a request of a thread of the tests in a thread of this process."""
        thread, living, verb, about = atom
        given = values[:]
        return self.threads.begin(thread, living, lambda: self.do(verb, about, given))

    def look(self, atom: Any, values: list[Any]) -> tuple[bool, Any]:
        return self.threads.look(atom[0])

    def look_in(self, atom: Any, values: list[Any]) -> bool:
        return self.threads.restless()

    def lines(self, atom: Any, values: list[Any]) -> Any:
        return self.count.told()

    def tell_logs(self, atom: Any, values: list[Any]) -> None:
        """Send all further log records to the judge, which knows what its tests want to see."""
        enabled, handle = logging.Logger.isEnabledFor, logging.Logger.callHandlers

        def handled(logger: Any, record: Any) -> None:
            self._logged.append([record.name, record.levelno, record.getMessage(), record.lineno])
            if enabled(logger, record.levelno):
                handle(logger, record)

        logging.Logger.isEnabledFor = lambda logger, level: True  # type: ignore[method-assign, assignment]
        logging.Logger.callHandlers = handled  # type: ignore[method-assign, assignment]

    def _warn(self, message: Any, category: Any, filename: str, lineno: int, *rest: Any) -> None:
        name = describing.standard_name(category)
        self._warned.append([name, category.__name__, str(message), lineno])


_OWN: dict[str, Callable[[Subject, Any, list[Any]], Any]] = {
    "load": Subject.load,
    "defines": Subject.defines,
    "globals": Subject.globals,
    "set global": Subject.set_global,
    "delete global": Subject.delete_global,
    "patch": Subject.patch,
    "filters": Subject.filters,
    "begin": Subject.begin,
    "look": Subject.look,
    "look in": Subject.look_in,
    "lines": Subject.lines,
    "tell logs": Subject.tell_logs,
}


class _Printed:
    """A standard stream. Its text is sent to the judge while the tests capture their own stream."""

    def __init__(self, name: str) -> None:
        self._name, self._usual, self._caught = name, getattr(sys, name), io.StringIO()

    def capture(self, here: bool) -> None:
        now = getattr(sys, self._name)
        if here and now is self._usual:
            setattr(sys, self._name, self._caught)
        elif not here and now is self._caught:
            setattr(sys, self._name, self._usual)

    def drained(self) -> str:
        try:
            self._usual.flush()
            text = self._caught.getvalue()
            if text:
                self._caught.seek(0)
                self._caught.truncate()
        except (OSError, ValueError):  # the program closed it
            return ""
        return text
