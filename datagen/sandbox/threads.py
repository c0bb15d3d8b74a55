"""Threads on both sides of a judged run, which share one conversation.

While several threads of the tests are alive, a call of one of them runs in a thread of the program's process,
and the calling thread polls until it is done. So one thread can wait for another. A request from a thread of
the program (a timer that calls a function of the tests) waits until the judge listens. While the program has
threads, the judge polls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from queue import SimpleQueue
from typing import Any

#: Maximum duration of a poll, and the pause before the next one, in seconds.
LOOK, BETWEEN = 0.002, 0.001
#: Requests that may wait for another thread.
WAITING = frozenset(("call", "op", "next", "send"))
_sleep = time.sleep


class _Answer:
    """The outcome of a call for which another thread waits."""

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
        """The result of the call. Raises what the call raised."""
        if self._error is not None:
            raise self._error
        return self._value


_Call = tuple[_Answer, Callable[[], Any]]


class Here:
    """Threads of the program's process. ``turn``: lock of the conversation with the judge."""

    def __init__(self, turn: Any) -> None:
        self._changed = threading.Condition(turn)
        self._before = threading.active_count()
        #: Whether the judge waits for an answer and so accepts requests; the number of threads that wait for
        #: this.
        self._heeded, self._waiting = False, 0
        self._workers: dict[int, SimpleQueue[_Call | None]] = {}
        self._begun: dict[int, _Answer] = {}

    def restless(self) -> bool:
        """Whether the program has threads, or one of them waits to send a request."""
        return self._waiting > 0 or threading.active_count() > self._before + len(self._workers)

    def ask(self, ask: Callable[[], Any]) -> Any:
        """Send a request as soon as the judge listens."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._heeded)
            finally:
                self._waiting -= 1
                self._changed.notify_all()
            return ask()

    def listening(self) -> None:
        """Record that the judge has sent a request. It listens until it gets the answer."""
        with self._changed:
            self._heeded = True
            if self._waiting:
                self._changed.notify_all()

    def answer(self, say: Callable[[], None]) -> None:
        """Send the answer after the waiting threads have had their turn."""
        with self._changed:
            if self._waiting:
                self._changed.wait_for(lambda: not self._waiting, LOOK)
            self._heeded = False
            say()

    def begin(self, thread: int, living: Collection[int], call: Callable[[], Any]) -> int:
        """Start a call in the thread that represents ``thread`` of the tests. Returns the number of the call.

        ``living``: the living threads of the tests.
        """
        for ended in self._workers.keys() - living:
            self._workers.pop(ended).put(None)
        answer = _Answer()
        number = id(answer)
        self._begun[number] = answer
        if thread in self._workers or self._started(thread):
            self._workers[thread].put((answer, call))
        else:  # without a thread, calls run one after the other
            answer.come_of(call)
        return number

    def _started(self, thread: int) -> bool:
        calls: SimpleQueue[_Call | None] = SimpleQueue()
        try:
            threading.Thread(target=self._work, args=(calls,), daemon=True).start()
        except RuntimeError:  # the limit of threads is reached
            return False
        self._workers[thread] = calls
        return True

    def look(self, number: int) -> tuple[bool, Any]:
        """Whether that call is done, and its result. Raises what the call raised."""
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
    """Threads of the judge. ``ask``: sends a request to the program's process, one thread at a time."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask
        self._before = threading.active_count()
        self._watcher: threading.Thread | None = None
        self.counted = False

    def several(self) -> bool:
        """Whether the tests have more than one living thread."""
        watched = self._watcher is not None and self._watcher.is_alive()
        return not self.counted and threading.active_count() > self._before + watched

    def call(self, verb: str, atom: Any, values: tuple[Any, ...]) -> Any:
        """Send a request while other threads may do so too. Returns the answer of the program."""
        living = [each.ident for each in threading.enumerate()]
        number = self._ask("begin", [threading.get_ident(), living, verb, atom], *values)
        while True:
            done, value = self._ask("look", [number, verb, atom])
            if done:
                return value
            _sleep(BETWEEN)

    def watch(self) -> None:
        """Start polling, for as long as the program has threads."""
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._look_in, daemon=True)
            self._watcher.start()

    def _look_in(self) -> None:
        try:
            while self._ask("look in", None) is True:
                _sleep(LOOK)
        except BaseException:
            return  # the reason for the missing verdict is already recorded
