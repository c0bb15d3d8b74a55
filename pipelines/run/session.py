"""The state that the stages of a session share: plan, store, observer and stop conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ...contracts.context import Context
from ...contracts.declared import filled
from ...contracts.errors import GristmillError
from ...contracts.inference import Usage
from ...contracts.rows import Row
from ...contracts.training import INPUT
from ..plan.nodes import Plan, PlannedStep
from ..store.parts import FAILED, Part
from ..store.products import Product
from ..store.run_directory import RunDirectory
from ..store.seal import digest
from ..store.step_store import Replaced, StepStore
from .budget import BudgetTracker, Stop
from .context import Models, OperatorContext
from .events import Notice, Observer, PartDone, StepDone, StepProgress, StepStarted
from .input_rows import InputRows
from .measured_before import MeasuredBefore, measured_before
from .occupancy import Occupancy


@dataclass
class Session:
    """One round being carried out. ``memory``: bytes that the process may use in a whole-table step."""

    plan: Plan
    run: RunDirectory
    observer: Observer
    budget: BudgetTracker
    stop: Stop
    memory: int
    _outdated: set[str] = field(default_factory=set)
    _short: bool = False
    _measured: dict[str, Mapping[str, MeasuredBefore]] = field(default_factory=dict)

    def store(self, name: str) -> StepStore:
        """The store of a step of this round."""
        return self.run.step(name, self.plan.step(name).fingerprint)

    def rows(self, step: PlannedStep) -> InputRows:
        """The input rows of a step: first those of earlier rounds."""
        earlier = [self.run.step(each.step, each.fingerprint) for each in step.earlier]
        return InputRows([*earlier, *(self.store(name) for name in step.inputs)])

    def rows_with_inputs(self, step: PlannedStep) -> pa.Table:
        """All input rows of a step, with the column :data:`INPUT` that says which input each is from."""
        counts = [len(InputRows([self.store(name)])) for name in step.inputs]
        numbers = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        names = pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(step.inputs, pa.string()))
        return self.rows(step).all().append_column(INPUT, names)

    def beside(self, step: PlannedStep) -> str:
        """A digest of what a step uses besides its input rows: the tables it reads and the adapters it loads.

        Raises Damaged if one of them has changed since it was made.
        """
        named = [part.rows for name in step.reads for part in self.store(name).parts()]
        named += [self.store(name).adapter()[1] for name in sorted(step.students)]
        return digest("\n".join(named).encode()) if named else ""

    def origin(self, rows: str, beside: str) -> str:
        """A digest of what a part is made from: of its rows, and of what is used :meth:`beside` them."""
        return digest(f"{rows} {beside}".encode())

    def replaced(self, step: PlannedStep) -> Replaced:
        """Was a file that a step wrote overwritten by a later step?"""
        return self.run.replaced(self.plan.round, step.name, self.plan.spec.loop.rounds)

    def outdated(self, step: str) -> None:
        """Tell the user, once, that a step runs again because its input rows have changed."""
        if step not in self._outdated:
            self._outdated.add(step)
            self.notice(
                f"step {step}: its input came out differently when made again; the step is made again too"
            )

    def short_of_memory(self, step: str, needed: int) -> None:
        """Tell the user, once, that a step will exceed the limit of memory."""
        if not self._short:
            self._short = True
            self.notice(
                f"step {step}: the limit of {self.memory / 1e6:,.0f} MB of memory cannot be kept, since the "
                f"process uses most of it already: give at least {needed / 1e6:,.0f} MB",
                warning=True,
            )

    def context(self, step: PlannedStep, models: Models) -> Context:
        """The context of the step's operator."""
        return OperatorContext(
            step=step.name,
            seed=step.seed,
            workdir=self.run.workdir(step.name, step.fingerprint),
            models=models,
            tables=self.table,
            on_progress=self._progress,
            stopping=self.check,
            known=partial(self._known, step),
        )

    def measured(self, step: PlannedStep) -> Mapping[str, MeasuredBefore]:
        """The models of an evaluation that need not be asked, and where they were measured."""
        if step.name not in self._measured:
            self._measured[step.name] = measured_before(
                step, self.plan, self.run, items=lambda: self.rows(step).all()
            )
        return self._measured[step.name]

    def _known(self, step: PlannedStep, model: str) -> Mapping[str, Row] | None:
        before = self.measured(step).get(model)
        return None if before is None else before.rows()

    def table(self, name: str) -> pa.Table:
        """The kept rows of a finished step, with all columns that it writes only in some rows."""
        return filled(InputRows([self.store(name)]).all(), self.plan.step(name).sparse)

    def check(self) -> None:
        """Raise if the run must stop: on request, or because the budget is used up."""
        self.stop.check()
        self.budget.check()

    def notice(self, text: str, *, warning: bool = False) -> None:
        self.observer.on(Notice(text=text, level="warning" if warning else "info"))

    def started(self, step: PlannedStep, rows_in: int | None, done: int) -> None:
        """Report that a step begins; ``done`` of its rows were committed by earlier sessions."""
        self.observer.on(StepStarted(step=step.name, rows_in=rows_in, done=done))

    def committed(self, step: PlannedStep, part: Part, seconds: float) -> None:
        """Account for a part that was just committed."""
        self.budget.record(part.usage, part.generated)
        ledger = part.ledger
        self.observer.on(
            PartDone(
                step=step.name,
                rows_in=ledger.rows_in,
                kept=ledger.kept,
                filtered=ledger.filtered,
                failed=ledger.failed,
                usage=part.usage,
                generated=part.generated,
                seconds=seconds,
            )
        )
        if ledger.failed and step.on_failure == "stop":
            raise GristmillError(
                f"{self._failures(step)}, and the file says on_failure: stop", step=step.name
            )

    def done(self, step: PlannedStep, *, reused: bool = False) -> None:
        """Report that a step is complete. Raises GristmillError if all its rows failed."""
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
                    f"{self._failures(step)}; fix the cause, then run again with --retry-failed",
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
        """Mark a step as complete, after checking that its row counts add up."""
        self.store(step.name).finish(
            operator=step.label,
            one_to_one=one_to_one,
            seconds=seconds,
            summary=summary,
            products=products,
            engines=[asdict(each) for each in engines],
        )

    def _failures(self, step: PlannedStep) -> str:
        store = self.store(step.name)
        failed = store.ledger().failed
        part = next(part for part in store.parts() if part.ledger.failed)
        first = part.read(["_reason"], FAILED)["_reason"][0].as_py()["error"]
        return f"1 row failed: {first}" if failed == 1 else f"{failed:,} rows failed, the first with: {first}"

    def _progress(
        self, step: str, done: float, total: float, unit: str, figures: Mapping[str, float]
    ) -> None:
        self.observer.on(StepProgress(step=step, done=done, total=total, unit=unit, figures=dict(figures)))
