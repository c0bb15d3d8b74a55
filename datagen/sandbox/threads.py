"""Threads on both sides of a judged run, over the one conversation that there is.

While several threads of the tests live, a call that one of them asks for runs in a thread of the program's
process, and the asking thread polls until it is done. So one thread may wait for what another does. What a
thread of the program asks (a timer that calls a function of the tests) waits until the judge listens. While the
program has threads, the judge polls by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from queue import SimpleQueue
from typing import Any

#: How long a look takes at the most, and how long after it the next one comes, seconds.
LOOK, BETWEEN = 0.002, 0.001
#: What may wait for another thread.
WAITING = frozenset(("call", "op", "next", "send"))
_sleep = time.sleep


class _Answer:
    """What becomes of one call: another thread waits for it."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def come_of(self, call: Callable[[], Any]) -> None:
        try:
            self._value = call()
        except BaseException as error:
            self._error = error
        self._done.set()

    def wait(self, seconds: float | None = None) -> bool:
        return self._done.wait(seconds)

    def value(self) -> Any:
        """Raises what the call raised."""
        if self._error is not None:
            raise self._error
        return self._value


_Call = tuple[_Answer, Callable[[], Any]]


class Here:
    """Of the program's process. ``turn``: whose turn it is to speak to the judge."""

    def __init__(self, turn: Any) -> None:
        self._changed = threading.Condition(turn)
        self._before = threading.active_count()
        #: Whether the judge waits for an answer, and so hears what is asked; how many threads wait for that.
        self._heeded, self._waiting = False, 0
        self._workers: dict[int, SimpleQueue[_Call | None]] = {}
        self._begun: dict[int, _Answer] = {}

    def restless(self) -> bool:
        """Whether the program has threads, or one of them wants to ask."""
        return self._waiting > 0 or threading.active_count() > self._before + len(self._workers)

    def ask(self, ask: Callable[[], Any]) -> Any:
        """Ask once the judge listens."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._heeded)
            finally:
                self._waiting -= 1
                self._changed.notify_all()
            return ask()

    def listening(self) -> None:
        """The judge has asked, and listens until it is answered."""
        with self._changed:
            self._heeded = True
            if self._waiting:
                self._changed.notify_all()

    def answer(self, say: Callable[[], None]) -> None:
        """Say the answer, once those who waited have had their turn."""
        with self._changed:
            if self._waiting:
                self._changed.wait_for(lambda: not self._waiting, LOOK)
            self._heeded = False
            say()

    def begin(self, thread: int, living: Collection[int], call: Callable[[], Any]) -> int:
        """Call it in the thread that stands for one of the tests, which are ``living``. The call's number."""
        for ended in self._workers.keys() - living:
            self._workers.pop(ended).put(None)
        answer = _Answer()
        number = id(answer)
        self._begun[number] = answer
        if thread in self._workers or self._started(thread):
            self._workers[thread].put((answer, call))
        else:  # one after the other, then
            answer.come_of(call)
        return number

    def _started(self, thread: int) -> bool:
        calls: SimpleQueue[_Call | None] = SimpleQueue()
        try:
            threading.Thread(target=self._work, args=(calls,), daemon=True).start()
        except RuntimeError:  # there are as many as there may be
            return False
        self._workers[thread] = calls
        return True

    def look(self, number: int) -> tuple[bool, Any]:
        """Whether that call is done, and what it returned. Raises what it raised."""
        answer = self._begun[number]
        if not answer.wait(LOOK):
            return False, None
        del self._begun[number]
        return True, answer.value()

    @staticmethod
    def _work(calls: SimpleQueue[_Call | None]) -> None:
        while (each := calls.get()) is not None:
            answer, call = each
            answer.come_of(call)
            del each, answer, call


class There:
    """Of the judge. ``ask``: asks the program's process, in turn with other threads."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask
        self._before = threading.active_count()
        self._watcher: threading.Thread | None = None
        self.counted = False

    def several(self) -> bool:
        """Whether more threads of the tests live than one."""
        watched = self._watcher is not None and self._watcher.is_alive()
        return not self.counted and threading.active_count() > self._before + watched

    def call(self, verb: str, atom: Any, values: tuple[Any, ...]) -> Any:
        """What the program answers, while other threads may ask it too."""
        living = [each.ident for each in threading.enumerate()]
        number = self._ask("begin", [threading.get_ident(), living, verb, atom], *values)
        while True:
            done, value = self._ask("look", [number, verb, atom])
            if done:
                return value
            _sleep(BETWEEN)

    def watch(self) -> None:
        """Look in from now on, for as long as the program has threads."""
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._look_in, daemon=True)
            self._watcher.start()

    def _look_in(self) -> None:
        try:
            while self._ask("look in", None) is True:
                _sleep(LOOK)
        except BaseException:
            return  # why there is no verdict is noted
