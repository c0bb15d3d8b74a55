"""Runs a chain of map steps: finds missing micro-batches, keeps several in flight, commits their parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...contracts.errors import of_step
from ...contracts.inference import Usage
from ...contracts.operators import Map
from ..plan.nodes import PlannedStep
from ..store.parts import Part
from ..store.step_store import StepStore
from .chain import StepResult
from .executor import Executor
from .input_rows import InputRows
from .occupancy import Occupancy, Spans, measure
from .outcomes import kept_rows, of_no_rows
from .pace import Pace
from .session import Session
from .stages import Stage, basis_of


@dataclass(frozen=True, slots=True)
class Item:
    """A micro-batch: the stage-input rows ``start .. stop``."""

    start: int
    stop: int


class ChainStage:
    """One stage of a session."""

    def __init__(self, session: Session, stage: Stage, executor: Executor) -> None:
        self.session = session
        self.stage = stage
        self.executor = executor
        self.stores: list[StepStore] = [
            session.run.begin_step(step.name, step.fingerprint) for step in stage.steps
        ]
        self.inputs = InputRows([session.store(name) for name in stage.head.inputs])
        self._beside = {step.name: session.beside(step) for step in stage.steps}
        self._index = {step.name: number for number, step in enumerate(stage.steps)}
        #: When each step worked on a micro-batch, or waited for its engine to start.
        self._worked: dict[str, Spans] = {step.name: Spans() for step in stage.steps}
        #: When requests to each model were in flight.
        self._spans: dict[str, Spans] = {}
        self._asked: dict[str, set[str]] = {}
        self._last_put_in = 0.0
        #: What the finished micro-batches of this session cost: their number, usage and generated rows.
        self._costs, self._cost, self._rows = 0, Usage(), 0

    def drop_outdated(self) -> None:
        """Drop the parts whose input rows have changed since they were made.

        Raises StoreError.
        """
        for number, store in enumerate(self.stores):
            self._drop(store, [part for part in store.parts() if self._is_outdated(part, number)])
        counted = basis_of(self.session.plan, self.stage.head)
        if self.stage.basis != counted and not self.stores[0].complete:
            # Its parts count the rows of a chain that is split differently now: nothing can be inserted
            # between them.
            self.stage = replace(self.stage, basis=counted)
            for store in self.stores:
                self._drop(store, store.parts())

    def _is_outdated(self, part: Part, number: int) -> bool:
        """Was a part of step ``number`` made from rows that have changed since, or are numbered otherwise?"""
        origin = self._origin(Item(part.start, part.stop), number)
        return part.basis != self.stage.basis or origin not in (None, part.origin)

    def _drop(self, store: StepStore, parts: Sequence[Part]) -> None:
        if parts:
            self.session.outdated(store.name)
            store.drop(*parts)

    async def run(self) -> None:
        """Process every missing micro-batch. Raises the error that stops the run; commits are kept."""
        plan, stage = self.session.plan, self.stage
        items = list(self.missing())
        if items:
            with of_step(stage.head.name):
                self.inputs.schema()  # raises DataError if inputs do not fit together, before models start
            contexts = {step.name: self.session.context(step, self.executor.models) for step in stage.steps}
            self._tell_measured()
            opening = time.time()
            await asyncio.to_thread(self.executor.open, stage, contexts)
            for step in stage.steps:
                if step.models:
                    self._worked[step.name].add([(opening, time.time())])
            for step, store in zip(stage.steps, self.stores, strict=True):
                head = step is stage.head
                self.session.started(step, len(self.inputs) if head else None, store.ledger().rows_in)
            pace = self.executor.pace(plan, stage)
            await self._keep_in_flight(items, pace)
            engines = self._occupancy(pace)
        else:
            engines = {}
            self._hand_columns_on()
        for step, store in zip(stage.steps, self.stores, strict=True):
            with of_step(step.name):
                self._finish(step, store, engines.get(step.name, []), reused=store.complete)

    def _tell_measured(self) -> None:
        """Tell the user which models are not asked, since they were measured before."""
        for step in self.stage.steps:
            for model, before in self.session.measured(step).items():
                self.session.notice(
                    f"step {step.name}: {model} is not asked again: {before.step} of round {before.round} "
                    "measured it on the same items"
                )

    def _hand_columns_on(self) -> None:
        """If the input is empty, commit an empty part of each step,
        which keeps the columns for later steps.
        """
        if len(self.inputs):
            return
        table = self.inputs.all()
        for step, store in zip(self.stage.steps, self.stores, strict=True):
            table = of_no_rows(table, step.operator)
            if not store.parts():
                store.commit(table, start=0, stop=0, basis=self.stage.basis, rows_in=0, usage=Usage())
            table = kept_rows(table)

    def missing(self) -> Iterator[Item]:
        """Micro-batches that some step of the chain has not committed, in order.

        Ranges that are already committed are kept, so a changed micro-batch size loses nothing.
        """
        have = [{(part.start, part.stop) for part in store.parts()} for store in self.stores]
        ranges = sorted(set().union(*have))
        total = ranges[-1][1] if self.stores[0].complete and ranges else len(self.inputs)
        cursor, size = 0, self.stage.batch_rows
        for start, stop in [*ranges, (total, total)]:
            for begin in range(cursor, start, size):
                yield Item(begin, min(begin + size, start))
            cursor = max(cursor, stop)
            if start < stop and any((start, stop) not in parts for parts in have):
                yield Item(start, stop)

    async def _keep_in_flight(self, items: list[Item], pace: Pace) -> None:
        waiting = iter(items)
        running: set[asyncio.Task[None]] = set()
        done: set[asyncio.Task[None]] = set()
        halted: Exception | None = None
        try:
            while True:
                allowed = pace.allowed(len(running))
                while halted is None and len(running) < allowed:
                    try:
                        self.session.check()
                    except Exception as reason:
                        halted = reason
                        break
                    if self._reaches_budget(len(running)):
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
            # Retrieve the exceptions of the other failed tasks too: nobody else does.
            await asyncio.gather(*running, *done, return_exceptions=True)
        if halted is not None:
            raise halted

    def _reaches_budget(self, running: int) -> bool:
        """Will the micro-batches in flight use up the budget? The first runs alone, to show their cost."""
        budget = self.session.budget
        if not running or not budget.limits().keys() - {"time"} or not self._asks:
            return False
        if not self._costs:
            return True
        share = running / self._costs
        usage = Usage(
            prompt_tokens=round(self._cost.prompt_tokens * share),
            completion_tokens=round(self._cost.completion_tokens * share),
            usd=self._cost.usd * share,
        )
        return budget.would_reach(usage, self._rows * share)

    @property
    def _asks(self) -> bool:
        """Does a step ask a model?"""
        return any(step.models for step in self.stage.steps)

    async def _process(self, item: Item, pace: Pace) -> None:
        """Make the missing parts of a micro-batch; if one differs from before,
        remake the parts after it too.
        """
        started, held = time.monotonic(), dict[str, float]()
        number = 0
        while number < len(self.stores):
            part = self.stores[number].part(item.start, item.stop)
            if part is not None and part.origin == self._origin(item, number):
                number += 1
                continue
            if part is not None:
                self._drop(self.stores[number], [part])
            last = number
            while last + 1 < len(self.stores) and self.stores[last + 1].part(item.start, item.stop) is None:
                last += 1
            await self._carry(item, number, last, held)
            number = last + 1
        pace.learn(time.monotonic() - started, held)
        self._costs += 1

    async def _carry(self, item: Item, first: int, last: int, held: dict[str, float]) -> None:
        """Process a micro-batch by steps ``first .. last``.

        ``held``: receives the seconds that its requests were in flight, by model.
        """
        if first == 0:
            table = await asyncio.to_thread(self.inputs.slice, item.start, item.stop)
        else:
            part = self._part(first - 1, item)
            table = kept_rows(await asyncio.to_thread(part.read))

        async def emit(result: StepResult) -> None:
            now = time.time()
            self._worked[result.step].add([(now - result.seconds, now)])
            for model, spans in result.spans.items():
                held[model] = held.get(model, 0.0) + sum(end - start for start, end in spans)
                self._spans.setdefault(model, Spans()).add(spans)
                self._asked.setdefault(model, set()).add(result.step)
            with of_step(result.step):
                await self._commit(item, result)

        await self.executor.process(table, first, last, emit)

    async def _commit(self, item: Item, result: StepResult) -> None:
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
            makes_rows=_makes_rows(self.stage.steps[number]),
            origin=self._origin(item, number) or "",
        )
        part = await asyncio.shield(writing)
        store.add(part)
        self._cost.add(part.usage)
        self._rows += part.generated
        self.session.committed(self.stage.steps[number], part, result.seconds)

    def _origin(self, item: Item, number: int) -> str | None:
        """Digest of the input of a micro-batch's part of step ``number``; None if it does not exist yet."""
        step, head = self.stage.steps[number], self.stage.head
        if number == 0 and self.stage.basis == basis_of(self.session.plan, head):
            rows = self.inputs.origin(item.start, item.stop)
        else:
            before = self.stores[number - 1] if number else self.session.store(head.inputs[0])
            part = before.part(item.start, item.stop)
            if part is None:
                return None
            rows = part.rows
        return self.session.origin(rows, self._beside[step.name])

    def _part(self, number: int, item: Item) -> Part:
        part = self.stores[number].part(item.start, item.stop)
        assert part is not None  # the step comes before a step that was made from it
        return part

    def _occupancy(self, pace: Pace) -> dict[str, list[Occupancy]]:
        """The occupancy of each model's engine in this session, reported with the last step that uses it."""
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
        engines: Sequence[Occupancy],
        *,
        reused: bool,
    ) -> None:
        if not reused:
            # Steps of a chain work at the same time, on different micro-batches.
            seconds = self._worked[step.name].covered()
            summary = self._summary(step, store)
            self.session.finish(
                step, one_to_one=not _makes_rows(step), seconds=seconds, summary=summary, engines=engines
            )
        self.session.done(step, reused=reused)

    def _summary(self, step: PlannedStep, store: StepStore) -> Mapping[str, Any]:
        """The step's summary of its kept rows; empty without rows. They are read only if there is one."""
        operator = step.operator
        if not isinstance(operator, Map) or type(operator).summary is Map.summary:
            return {}
        kept = store.table()
        return operator.summary(kept) if kept.num_rows else {}


def _makes_rows(step: PlannedStep) -> bool:
    return isinstance(step.operator, Map) and step.operator.makes_rows
