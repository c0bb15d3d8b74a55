"""Carries out a chain of map steps: finds what is missing, keeps micro-batches in flight, commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ..operator import Map
from ..plan.nodes import PlannedStep
from ..store.parts import Part
from ..store.run_directory import StepStore
from .chain import Result
from .executor import Executor
from .outcomes import going_on
from .rows import Rows
from .session import Session
from .stages import Stage


@dataclass(frozen=True, slots=True)
class Item:
    """A micro-batch: the stage-input rows ``start .. stop``, and the first and last step it lacks."""

    start: int
    stop: int
    first: int
    last: int


class ChainStage:
    """One stage of a session."""

    def __init__(self, session: Session, stage: Stage, executor: Executor) -> None:
        self.session = session
        self.stage = stage
        self.executor = executor
        self.stores: list[StepStore] = [
            session.run.begin_step(step.name, step.fingerprint) for step in stage.steps
        ]
        self.inputs = Rows([session.store(name) for name in stage.head.inputs])
        self._reused = [store.complete for store in self.stores]
        self._index = {step.name: number for number, step in enumerate(stage.steps)}

    async def run(self) -> None:
        """Process every micro-batch that is missing. Raises what stops the run; commits are kept."""
        started = time.monotonic()
        plan, stage = self.session.plan, self.stage
        items = list(self.missing())
        if items:
            contexts = {step.name: self.session.context(step, self.executor.models) for step in stage.steps}
            await asyncio.to_thread(self.executor.open, stage, contexts)
            for step, store in zip(stage.steps, self.stores, strict=True):
                head = step is stage.head
                self.session.started(step, len(self.inputs) if head else None, store.ledger().rows_in)
            await self._keep_in_flight(items, self.executor.in_flight(plan, stage))
        for step, store, reused in zip(stage.steps, self.stores, self._reused, strict=True):
            self._finish(step, store, time.monotonic() - started, reused=reused)

    def missing(self) -> Iterator[Item]:
        """Micro-batches that some step of the chain has not committed, in order.

        Ranges that are already there are respected, so a changed micro-batch size loses nothing.
        """
        have = [{(part.start, part.stop) for part in store.parts()} for store in self.stores]
        ranges = sorted(set().union(*have))
        end = len(self.stores) - 1
        total = ranges[-1][1] if self.stores[0].complete and ranges else len(self.inputs)
        cursor, size = 0, self.stage.batch_rows
        for start, stop in [*ranges, (total, total)]:
            for begin in range(cursor, start, size):
                yield Item(begin, min(begin + size, start), 0, end)
            cursor = max(cursor, stop)
            lacking = [number for number, parts in enumerate(have) if (start, stop) not in parts]
            if start < stop and lacking:
                yield Item(start, stop, lacking[0], lacking[-1])

    async def _keep_in_flight(self, items: list[Item], limit: int) -> None:
        waiting = iter(items)
        running: set[asyncio.Task[None]] = set()
        halted: Exception | None = None
        try:
            while True:
                while halted is None and len(running) < limit:
                    try:
                        self.session.check()
                    except Exception as reason:
                        halted = reason
                        break
                    item = next(waiting, None)
                    if item is None:
                        break
                    running.add(asyncio.create_task(self._process(item)))
                if not running:
                    break
                done, running = await asyncio.wait(running, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                self.session.stop.check()
                for task in done:
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if halted is not None:
            raise halted

    async def _process(self, item: Item) -> None:
        """Make what a micro-batch lacks; where that differs from what was there, what follows too."""
        changed = await self._carry(item)
        end = len(self.stores) - 1
        if changed:
            self.session.invalidate(self.stage.steps[item.first].name, but={s.name for s in self.stage.steps})
            if item.last < end:
                await self._carry(Item(item.start, item.stop, item.last + 1, end))

    async def _carry(self, item: Item) -> bool:
        """Carry a micro-batch through the steps it lacks. True where a part was made anew, and differs."""
        if item.first == 0:
            table = await asyncio.to_thread(self.inputs.slice, item.start, item.stop)
        else:
            part = self._part(self.stores[item.first - 1], item)
            table = going_on(await asyncio.to_thread(part.read))
        changed = False

        async def emit(result: Result) -> None:
            nonlocal changed
            changed |= await self._commit(item, result)

        await self.executor.process(table, item.first, item.last, emit)
        return changed

    async def _commit(self, item: Item, result: Result) -> bool:
        number = self._index[result.step]
        store = self.stores[number]
        writing = asyncio.to_thread(
            store.write,
            result.table,
            start=item.start,
            stop=item.stop,
            basis=self.stage.basis,
            rows_in=result.rows_in,
            usage=result.usage,
        )
        part, digest = await asyncio.shield(writing)
        store.add(part, digest)
        self.session.committed(self.stage.steps[number], part, result.seconds)
        return store.changed(part)

    def _part(self, store: StepStore, item: Item) -> Part:
        return next(part for part in store.parts() if (part.start, part.stop) == (item.start, item.stop))

    def _finish(self, step: PlannedStep, store: StepStore, seconds: float, *, reused: bool) -> None:
        if not reused:
            operator = step.operator
            makes = isinstance(operator, Map) and operator.makes
            summary = operator.summary(store.table()) if isinstance(operator, Map) else {}
            self.session.finish(step, one_to_one=not makes, seconds=seconds, summary=summary)
        self.session.done(step, reused=reused)
