from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence

import psutil
import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Capability, Completion, Engine, EngineSettings, Request
from gristmill.pipelines.engines.apart import ApartEngine
from gristmill.pipelines.engines.restarting import Restarting
from gristmill.pipelines.engines.synthetic import SyntheticEngine, SyntheticOptions

from .conftest import ask


class Mortal:
    """The synthetic engine, which answers ``lives`` calls and then dies."""

    capabilities: frozenset[Capability] = frozenset({"seed", "stop"})
    vocab_size: int | None = 7

    def __init__(self, lives: int, *, retryable: bool = True) -> None:
        self._inner = SyntheticEngine("", SyntheticOptions())
        self._lives = lives
        self._retryable = retryable
        self.closed = False

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        await asyncio.sleep(0.01)
        self._lives -= 1
        if self._lives < 0:
            raise EngineError("it died", retryable=self._retryable)
        return await self._inner.generate(requests)

    async def close(self) -> None:
        self.closed = True


class Makes:
    """Makes engines with the given lives in sequence; an error in the list is raised."""

    def __init__(self, *lives: int | Exception, retryable: bool = True) -> None:
        self.left = list(lives)
        self.made: list[Mortal] = []
        self._retryable = retryable

    def __call__(self) -> Engine:
        lives = self.left.pop(0)
        if isinstance(lives, Exception):
            raise lives
        self.made.append(Mortal(lives, retryable=self._retryable))
        return self.made[-1]


def test_one_restart_serves_all_who_wait() -> None:
    make = Makes(2, 100)
    engine = Restarting(make, pause=0.01)

    async def many() -> list[list[Completion]]:
        return await asyncio.gather(*(engine.generate([ask("Hello", n)]) for n in range(8)))

    done = asyncio.run(many())
    assert [call[0].request_id for call in done] == [f"r{n}" for n in range(8)]
    assert len(make.made) == 2
    assert make.made[0].closed


def test_after_all_attempts_the_reason_is_given() -> None:
    make = Makes(0, 0, 0, 0)
    engine = Restarting(make, attempts=3, pause=0.001)
    with pytest.raises(EngineError, match="the engine failed 3 times: it died") as caught:
        asyncio.run(engine.generate([ask("x")]))
    assert caught.value.retryable
    assert len(make.made) == 3


def test_what_cannot_be_mended_is_not_tried_again() -> None:
    make = Makes(0, 1, retryable=False)
    with pytest.raises(EngineError, match="it died"):
        asyncio.run(Restarting(make).generate([ask("x")]))
    assert len(make.made) == 1


def test_a_restart_that_fails_counts_as_a_try() -> None:
    make = Makes(0, ModelError("no memory"), 5)
    engine = Restarting(make, attempts=4, pause=0.001)
    (completion,) = asyncio.run(engine.generate([ask("x")]))
    assert completion.request_id == "r0"
    make = Makes(0, ModelError("no memory"), ModelError("no memory"))
    with pytest.raises(EngineError, match="could not be started again: no memory"):
        asyncio.run(Restarting(make, attempts=3, pause=0.001).generate([ask("x")]))


def test_the_first_start_fails_at_once() -> None:
    with pytest.raises(ModelError, match="no such model"):
        Restarting(Makes(ModelError("no such model")))


def test_a_first_start_that_was_killed_is_tried_once_more() -> None:
    killed = EngineError("the engine's process ended while it started: signal SIGKILL", retryable=True)
    (completion,) = asyncio.run(Restarting(Makes(killed, 5)).generate([ask("x")]))
    assert completion.request_id == "r0"
    make = Makes(killed, killed, 5)
    with pytest.raises(EngineError, match="SIGKILL"):
        Restarting(make)
    assert make.left == [5]


class Killing(threading.Thread):
    """SIGKILLs the next child process that runs an engine."""

    def __init__(self) -> None:
        super().__init__()
        self.others = set(psutil.Process().children())

    def run(self) -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            for child in set(psutil.Process().children()) - self.others:
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "gristmill.pipelines.engines.child" in " ".join(child.cmdline()):
                        child.kill()
                        return
            time.sleep(0.01)


def test_a_process_that_is_killed_while_it_starts_may_be_started_again() -> None:
    killing = Killing()
    killing.start()
    with pytest.raises(EngineError, match="ended while it started: signal SIGKILL") as raised:
        ApartEngine(EngineSettings("synthetic", None))
    assert raised.value.retryable
    killing.join()
    engine = ApartEngine(EngineSettings("synthetic", None))
    asyncio.run(engine.close())


def test_a_cancelled_caller_does_not_stop_the_restart_of_the_others() -> None:
    make = Makes(0, 100)
    engine = Restarting(make, pause=0.05)

    async def one_goes() -> list[Completion]:
        first = asyncio.ensure_future(engine.generate([ask("a", 1)]))
        second = asyncio.ensure_future(engine.generate([ask("b", 2)]))
        await asyncio.sleep(0.03)  # both wait for the restart that the first call began
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(one_goes())[0].request_id == "r2"
    assert len(make.made) == 2


def test_closing_while_it_restarts_closes_what_is_made() -> None:
    make = Makes(0, 100)
    engine = Restarting(make, pause=0.2)

    async def close_early() -> None:
        call = asyncio.ensure_future(engine.generate([ask("a")]))
        await asyncio.sleep(0.05)
        await engine.close()
        with pytest.raises((EngineError, asyncio.CancelledError)):
            await call

    asyncio.run(close_early())
    assert all(made.closed for made in make.made)


def test_it_serves_one_event_loop_after_another() -> None:
    make = Makes(1, 1, 1, 1)
    engine = Restarting(make, pause=0.001)
    for number in range(4):
        assert asyncio.run(engine.generate([ask("x", number)]))[0].request_id == f"r{number}"
    assert len(make.made) == 4
