"""Carries out a chain of map steps: finds what is missing, keeps micro-batches in flight, commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..inference import Usage
from ..operator import Map
from ..plan.nodes import PlannedStep
from ..store.parts import Part
from ..store.run_directory import StepStore
from .chain import Result
from .executor import Executor
from .occupancy import Occupancy, Spans, measure
from .outcomes import going_on, of_no_rows
from .pace import Pace
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
        self._spans: dict[str, Spans] = {}
        self._asked: dict[str, set[str]] = {}
        self._last_put_in = 0.0

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
            pace = self.executor.pace(plan, stage)
            await self._keep_in_flight(items, pace)
            engines = self._occupancy(pace)
        else:
            engines = {}
            self._hand_columns_on()
        for step, store, reused in zip(stage.steps, self.stores, self._reused, strict=True):
            seconds = time.monotonic() - started
            self._finish(step, store, seconds, engines.get(step.name, []), reused=reused)

    def _hand_columns_on(self) -> None:
        """Where no rows come in, an empty part of each step keeps the columns for what follows."""
        if len(self.inputs):
            return
        table = self.inputs.all()
        for step, store in zip(self.stage.steps, self.stores, strict=True):
            table = of_no_rows(table, step.operator)
            if not store.parts():
                store.commit(table, start=0, stop=0, basis=self.stage.basis, rows_in=0, usage=Usage())
            table = going_on(table)

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

    async def _keep_in_flight(self, items: list[Item], pace: Pace) -> None:
        waiting = iter(items)
        running: set[asyncio.Task[None]] = set()
        done: set[asyncio.Task[None]] = set()
        halted: Exception | None = None
        try:
            while True:
                while halted is None and len(running) < pace.limit:
                    try:
                        self.session.check()
                    except Exception as reason:
                        halted = reason
                        break
                    item = next(waiting, None)
                    if item is None:
                        break
                    running.add(asyncio.create_task(self._process(item, pace)))
                    self._last_put_in = time.time()
                if not running:
                    break
                done, running = await asyncio.wait(running, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                self.session.stop.check()
                for task in done:
                    task.result()
        finally:
            for task in running:
                task.cancel()
            # Those that failed beside the first too: nobody else would ask them why.
            await asyncio.gather(*running, *done, return_exceptions=True)
        if halted is not None:
            raise halted

    async def _process(self, item: Item, pace: Pace) -> None:
        """Make what a micro-batch lacks; where that differs from what was there, what follows too."""
        started, held = time.monotonic(), dict[str, float]()
        changed = await self._carry(item, held)
        end = len(self.stores) - 1
        if changed:
            self.session.invalidate(self.stage.steps[item.first].name, but={s.name for s in self.stage.steps})
            if item.last < end:
                await self._carry(Item(item.start, item.stop, item.last + 1, end), held)
        pace.learn(time.monotonic() - started, held)

    async def _carry(self, item: Item, held: dict[str, float]) -> bool:
        """Carry a micro-batch through the steps it lacks. True where a part was made anew, and differs.

        ``held``: the seconds that its requests were in flight are added to it, by model.
        """
        if item.first == 0:
            table = await asyncio.to_thread(self.inputs.slice, item.start, item.stop)
        else:
            part = self._part(self.stores[item.first - 1], item)
            table = going_on(await asyncio.to_thread(part.read))
        changed = False

        async def emit(result: Result) -> None:
            nonlocal changed
            for model, spans in result.spans.items():
                held[model] = held.get(model, 0.0) + sum(end - start for start, end in spans)
                self._spans.setdefault(model, Spans()).add(spans)
                self._asked.setdefault(model, set()).add(result.step)
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

    def _occupancy(self, pace: Pace) -> dict[str, list[Occupancy]]:
        """How full each model's engine was in this session, at the last of the steps that asked it."""
        found: dict[str, list[Occupancy]] = {}
        for model, spans in sorted(self._spans.items()):
            steps = sorted(self._asked[model], key=self._index.__getitem__)
            if len(spans):
                told = measure(model, steps, spans, pace.slots[model], self._last_put_in)
                found.setdefault(steps[-1], []).append(told)
        return found

    def _finish(
        self,
        step: PlannedStep,
        store: StepStore,
        seconds: float,
        engines: Sequence[Occupancy],
        *,
        reused: bool,
    ) -> None:
        if not reused:
            makes = isinstance(step.operator, Map) and step.operator.makes
            summary = self._summary(step, store)
            self.session.finish(step, one_to_one=not makes, seconds=seconds, summary=summary, engines=engines)
        self.session.done(step, reused=reused)

    def _summary(self, step: PlannedStep, store: StepStore) -> Mapping[str, Any]:
        """What the step says of the rows that it kept; without rows there are no columns to sum up."""
        if isinstance(step.operator, Map) and (kept := store.table()).num_rows:
            return step.operator.summary(kept)
        return {}
