from __future__ import annotations

import asyncio
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipelines.engines.concurrency import AdaptiveLimit


@settings(max_examples=50, deadline=None)
@given(most=st.integers(1, 20), outcomes=st.lists(st.booleans(), min_size=1, max_size=60))
def test_never_more_than_the_limit_hold_it_and_all_get_their_turn(most: int, outcomes: list[bool]) -> None:
    limit = AdaptiveLimit(most)
    held = peak = 0

    async def one(good: bool) -> None:
        nonlocal held, peak
        async with limit:
            held += 1
            peak = max(peak, held)
            assert held <= most
            await asyncio.sleep(0)
            held -= 1
            if good:
                limit.answered(0.1, 10)
            else:
                limit.refused()

    async def everyone() -> None:
        await asyncio.wait_for(asyncio.gather(*(one(good) for good in outcomes)), 60)

    asyncio.run(everyone())
    assert held == 0
    assert limit.held == 0
    assert 1 <= limit.limit <= most


def test_a_cancelled_waiter_gives_its_turn_away() -> None:
    async def scene() -> None:
        limit = AdaptiveLimit(1)

        async def hold() -> str:
            async with limit:
                await asyncio.sleep(0.01)
                return "held"

        first, second, third = (asyncio.ensure_future(hold()) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        assert await first == "held"
        assert await asyncio.wait_for(third, 60) == "held"
        assert limit.held == 0

    asyncio.run(scene())


def test_it_doubles_per_round_trip_until_the_server_is_overloaded() -> None:
    limit = AdaptiveLimit(64, start=8)
    for _ in range(8):
        limit.answered(0.1, 10)
    assert limit.limit == 16
    for _ in range(8):
        limit.refused()
    assert limit.limit == 12
    for _ in range(12):
        limit.answered(0.1, 10)
    assert 12.9 < limit.limit < 13.1


def test_requests_refused_together_halve_it() -> None:
    limit = AdaptiveLimit(64, start=16)
    for _ in range(16):
        limit.refused()
    assert limit.limit == 8


def test_one_refusal_among_many_answers_hardly_lowers_it() -> None:
    limit = AdaptiveLimit(64, start=32)
    for _ in range(5):
        for _ in range(40):
            limit.answered(0.1, 10)
        limit.refused()
    assert limit.limit >= 63


def test_after_an_overload_it_comes_back_fast_to_half_of_what_was_too_much() -> None:
    limit = AdaptiveLimit(64, start=64)
    while limit.limit > 2:
        limit.refused()
    for _ in range(60):
        limit.answered(0.1, 10)
    assert 30 < limit.limit < 35


def test_answers_that_only_wait_in_a_queue_lower_it_and_slower_prompts_do_not() -> None:
    limit = AdaptiveLimit(64, start=16)
    for _ in range(64):
        limit.answered(1.0, 100)
    assert limit.limit == 64
    for _ in range(400):
        limit.answered(4.0, 400)  # four times as long, of four times as many tokens
    assert limit.limit == 64
    for _ in range(400):
        limit.answered(4.0, 100)
    assert limit.limit == 16


def test_a_server_that_refuses_all_is_left_alone_as_long_as_it_asks() -> None:
    async def scene() -> tuple[float, float]:
        limit = AdaptiveLimit(8)
        limit.refused(0.2)
        async with limit:
            after_one = limit.pause
        limit.refused(0.2)
        limit.refused(0.2)
        started = time.monotonic()
        async with limit:
            return after_one, time.monotonic() - started

    after_one, waited = asyncio.run(scene())
    assert after_one == 0
    assert waited >= 0.15
