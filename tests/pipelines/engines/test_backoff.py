from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipelines.engines.backoff import AdaptiveLimit, pause_before, retry_after


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
            (limit.went_well if good else limit.was_refused)()

    async def everyone() -> None:
        await asyncio.wait_for(asyncio.gather(*(one(good) for good in outcomes)), 10)

    asyncio.run(everyone())
    assert held == 0
    assert limit.held == 0
    assert 1 <= limit.limit <= most


def test_it_rises_by_one_for_each_window_and_halves_on_a_refusal() -> None:
    limit = AdaptiveLimit(64, start=8)
    for _ in range(8):
        limit.went_well()
    assert 8.9 < limit.limit < 9.1
    limit.held = 1
    limit.was_refused()
    assert 4.4 < limit.limit < 4.6


def test_requests_refused_together_halve_it_once() -> None:
    limit = AdaptiveLimit(64, start=16)
    limit.held = 16
    for _ in range(16):
        limit.was_refused()
        limit.held -= 1
    assert limit.limit == 8
    limit.held = 8
    limit.was_refused()
    assert limit.limit == 4


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
        assert await asyncio.wait_for(third, 1) == "held"
        assert limit.held == 0

    asyncio.run(scene())


def test_pauses_double_with_jitter_unless_the_server_says_how_long() -> None:
    for attempt, middle in ((1, 0.5), (2, 1.0), (4, 4.0)):
        assert all(middle / 2 <= pause_before(attempt, None) <= middle * 1.5 for _ in range(50))
    assert 3.0 <= pause_before(1, 3.0) <= 3.1
    assert pause_before(1, 10_000.0) < 61
    assert pause_before(30, None) <= 90


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("soon", None), (None, None), ("", None)]
)
def test_retry_after_as_a_number(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 85 < (retry_after(later) or 0) < 91
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
