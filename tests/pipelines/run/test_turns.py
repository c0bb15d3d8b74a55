from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipelines.run.turns import Turns


@given(calls=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=25))
def test_two_engines_never_work_at_once_and_every_call_is_served(calls: list[tuple[str, int]]) -> None:
    working: list[str] = []
    together: list[set[str]] = []
    most = 0

    async def call(turns: Turns, engine: str, pauses: int) -> None:
        nonlocal most
        async with turns.of(engine):
            working.append(engine)
            most = max(most, len(working))
            for _ in range(pauses):
                together.append(set(working))
                await asyncio.sleep(0)
            working.remove(engine)

    async def run() -> None:
        turns = Turns()
        await asyncio.wait_for(asyncio.gather(*(call(turns, *each) for each in calls)), 20)

    asyncio.run(run())
    assert all(len(engines) == 1 for engines in together)
    assert working == []


def test_calls_to_one_engine_are_in_flight_together() -> None:
    async def run() -> int:
        turns, inside, all_inside = Turns(), 0, asyncio.Event()

        async def call() -> None:
            nonlocal inside
            async with turns.of("a"):
                inside += 1
                if inside == 8:
                    all_inside.set()
                await all_inside.wait()

        await asyncio.wait_for(asyncio.gather(*(call() for _ in range(8))), 60)
        return inside

    assert asyncio.run(run()) == 8


def test_a_call_that_is_cancelled_gives_its_turn_back() -> None:
    async def run() -> None:
        turns = Turns()

        async def hold() -> None:
            async with turns.of("a"):
                await asyncio.sleep(60)

        task = asyncio.create_task(hold())
        await asyncio.sleep(0.01)
        task.cancel()
        async with asyncio.timeout(60), turns.of("b"):
            pass

    asyncio.run(run())
