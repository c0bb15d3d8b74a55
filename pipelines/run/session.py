"""What every stage of a session shares: the plan, the store, who watches, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from ..errors import GristmillError
from ..inference import Usage
from ..operator import Context
from ..plan.nodes import Plan, PlannedStep
from ..store.parts import Part
from ..store.products import Product
from ..store.run_directory import RunDirectory
from ..store.seal import digest
from ..store.step_store import Replaced, StepStore
from .context import Models, StepContext
from .events import Notice, Observer, PartDone, Progress, StepDone, StepStarted
from .limits import Purse, Stop
from .occupancy import Occupancy
from .rows import Rows

#: How often the clock of the time budget is written down.
CLOCK_SECONDS = 5.0


@dataclass
class Session:
    """One round being worked on."""

    plan: Plan
    run: RunDirectory
    observer: Observer
    purse: Purse
    stop: Stop
    _outdated: set[str] = field(default_factory=set)
    _clock: float = field(default_factory=time.monotonic)

    def store(self, name: str) -> StepStore:
        """The store of a step of this round."""
        return self.run.step(name, self.plan.step(name).fingerprint)

    def rows(self, step: PlannedStep) -> Rows:
        """The rows that come into a step."""
        return Rows([self.store(name) for name in step.inputs])

    def beside(self, step: PlannedStep, apart: Sequence[PlannedStep] = ()) -> str:
        """Names what a step takes besides the rows that come into it: tables that it reads, adapters that it
        uses.

        ``apart``: steps that are at work together with it. Raises Damaged where one of them is not what was
        made.
        """
        together = {each.name for each in apart}
        named = [
            part.rows for name in step.reads if name not in together for part in self.store(name).parts()
        ]
        named += [
            self.store(name).adapter()[1] for name, kind in sorted(step.models.items()) if kind == "train"
        ]
        return digest("\n".join(named).encode()) if named else ""

    def origin(self, rows: str, beside: str) -> str:
        """Names what a part is made from, given what names the rows, and what is taken :meth:`beside`
        them."""
        return digest(f"{rows} {beside}".encode())

    def replaced(self, step: PlannedStep) -> Replaced:
        """Tells whether a file that a step wrote is now what a step after it wrote there."""
        return self.run.replaced(self.plan.round, step.name, self.plan.spec.loop.rounds)

    def outdated(self, step: str) -> None:
        """Tell once that a step's parts were made from rows that came out differently when made again."""
        if step not in self._outdated:
            self._outdated.add(step)
            self.notice(
                f"step {step}: what it was made from came out differently when made again; it is made again too"
            )

    def context(self, step: PlannedStep, models: Models) -> Context:
        """What the step's operator is handed."""
        return StepContext(
            step=step.name,
            seed=step.seed,
            workdir=self.run.workdir(step.name, step.fingerprint),
            models=models,
            tables=self.table,
            on_progress=self._progress,
            stopping=self.check,
        )

    def table(self, name: str) -> pa.Table:
        """The kept rows of a finished step."""
        return Rows([self.store(name)]).all()

    def check(self) -> None:
        """Raises where the run must stop: on request, or because the budget is spent."""
        self.stop.check()
        self.purse.check()

    def notice(self, text: str, *, warning: bool = False) -> None:
        self.observer.on(Notice(text=text, level="warning" if warning else "info"))

    def started(self, step: PlannedStep, rows_in: int | None, done: int) -> None:
        """Tell that a step is at work; ``done`` of its rows are there from earlier sessions."""
        self.observer.on(StepStarted(step=step.name, rows_in=rows_in, done=done))

    def committed(self, step: PlannedStep, part: Part, seconds: float) -> None:
        """Account for a part that has just been committed."""
        self.purse.pay(part.usage, part.ledger.made)
        if time.monotonic() - self._clock > CLOCK_SECONDS:
            self._clock = time.monotonic()
            self.run.write_seconds(self.purse.seconds)
        ledger = part.ledger
        self.observer.on(
            PartDone(
                step=step.name,
                rows_in=ledger.rows_in,
                kept=ledger.kept,
                filtered=ledger.filtered,
                failed=ledger.failed,
                usage=part.usage,
                seconds=seconds,
            )
        )
        if ledger.failed and step.on_failure == "stop":
            raise GristmillError(
                f"{self._failures(step)}, and the file says on_failure: stop", step=step.name
            )

    def done(self, step: PlannedStep, *, reused: bool = False) -> None:
        """Tell that a step is complete. Raises GristmillError where nothing came out but failures."""
        store = self.store(step.name)
        manifest = store.manifest
        ledger = store.ledger()
        self.observer.on(
            StepDone(
                step=step.name,
                ledger=ledger,
                usage=Usage(**manifest["usage"]),
                seconds=manifest["seconds"],
                reused=reused,
                summary=manifest["summary"],
                engines=manifest.get("engines", []),
            )
        )
        if ledger.failed:
            self.notice(f"step {step.name}: {self._failures(step)}", warning=True)
            if (ledger.failed == ledger.made and step.on_failure != "accept") or step.on_failure == "stop":
                raise GristmillError(
                    f"{self._failures(step)}; mend the cause, then run again with --retry-failed",
                    step=step.name,
                )

    def finish(
        self,
        step: PlannedStep,
        *,
        one_to_one: bool,
        seconds: float,
        summary: Mapping[str, Any],
        products: Sequence[Product] = (),
        engines: Sequence[Occupancy] = (),
    ) -> None:
        """Declare a step complete, after checking that its ledger adds up."""
        self.store(step.name).finish(
            operator=step.label,
            one_to_one=one_to_one,
            seconds=seconds,
            summary=summary,
            products=products,
            engines=[asdict(each) for each in engines],
        )

    def _failures(self, step: PlannedStep) -> str:
        table = self.store(step.name).table(["_reason"], fate="failed")
        errors = [reason["error"] for reason in table["_reason"].to_pylist()]
        if len(errors) == 1:
            return f"1 row failed: {errors[0]}"
        return f"{len(errors):,} rows failed, the first with: {errors[0]}"

    def _progress(
        self, step: str, done: float, total: float, unit: str, figures: Mapping[str, float]
    ) -> None:
        self.observer.on(Progress(step=step, done=done, total=total, unit=unit, figures=dict(figures)))
