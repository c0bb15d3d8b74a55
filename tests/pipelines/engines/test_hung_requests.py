from __future__ import annotations

import asyncio

import pytest

from gristmill.pipelines.engines import hung_requests
from gristmill.pipelines.engines.hung_requests import HungRequests, UsualTime


def usual(*answers: tuple[float, int], times: int = 16) -> UsualTime:
    made = UsualTime()
    for _ in range(times):
        for seconds, tokens in answers:
            made.add(seconds, tokens)
    return made


def test_the_usual_time_is_that_of_a_full_answer() -> None:
    assert usual((1.0, 50)).of(100) == pytest.approx(2.0)
    assert usual((1.0, 50), (2.0, 50)).of(10) == 2.0  # not less than slow answers take
    assert usual((1.0, 1)).of(1000) == 4.0  # answers of one token tell little about speed
    assert usual((1.0, 50), times=15).of(100) is None


def test_the_cutoff_doubles_each_time_and_has_bounds() -> None:
    async def scene() -> list[float]:
        hung = HungRequests(longest=50.0)
        unknown = hung.cutoff(100, 0)
        for _ in range(16):
            hung.answered(2.0, 50)
        return [unknown, *(hung.cutoff(100, given_up) for given_up in range(4)), hung.cutoff(1, 0)]

    assert asyncio.run(scene()) == [50.0, 12.0, 24.0, 48.0, 50.0, 6.0]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hung_requests, "SHORTEST", 0.05)


async def _until_given_up(hung: HungRequests, seconds: float) -> bool:
    try:
        async with hung.watched(10, 0):
            await asyncio.sleep(seconds)
    except TimeoutError:
        return True
    return False


@pytest.mark.usefixtures("hasty")
def test_a_request_beyond_a_multiple_of_the_usual_time_is_given_up() -> None:
    async def scene() -> tuple[bool, bool]:
        hung = HungRequests(longest=50.0)
        for _ in range(16):
            hung.answered(0.02, 10)
        return await _until_given_up(hung, 0), await _until_given_up(hung, 9.0)

    assert asyncio.run(scene()) == (False, True)


@pytest.mark.usefixtures("hasty")
def test_a_request_sent_before_the_usual_time_was_known_is_given_up_too() -> None:
    async def scene() -> bool:
        hung = HungRequests(longest=50.0)
        waiting = asyncio.create_task(_until_given_up(hung, 9.0))
        await asyncio.sleep(0.01)
        for _ in range(16):
            hung.answered(0.02, 10)
        return await waiting

    assert asyncio.run(scene())


@pytest.mark.usefixtures("hasty")
def test_while_a_server_answers_nobody_it_is_stalled_and_no_request_is_hung() -> None:
    async def scene() -> list[bool]:
        hung = HungRequests(longest=50.0)
        for _ in range(16):
            hung.answered(0.02, 10)
        return await asyncio.gather(*(_until_given_up(hung, 0.4) for _ in range(6)))

    assert asyncio.run(scene()) == [False] * 6
