"""Runs the steps that run alone: sources, whole-table operators, training and exports."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...contracts.context import Context
from ...contracts.declared import filled_stored
from ...contracts.durable import remove, replace_directory
from ...contracts.errors import of_step
from ...contracts.exchanges import ViewedRows, viewed
from ...contracts.inference import Usage
from ...contracts.operators import Operator, Sink, Source, WholeTable
from ...contracts.outcomes import NewRows, TableResult
from ...contracts.training import Train, Trained
from ..sinks.placing import local_files
from ..store.files import TEMPORARY, disk
from ..store.parts import ID, PARENTS, Part
from ..store.products import Product, products_in, strangers
from ..store.tables import write_sealed
from .context import OperatorContext
from .executor import Executor
from .meter import STEP_USAGE, StepUsage
from .outcomes import from_new_rows
from .session import Session
from .source_parts import PART_ROWS
from .source_rows import SourceRows
from .stages import Stage
from .verdicts import from_table_result
from .whole_table.committing import ResultTasks
from .whole_table.memory import Shares
from .whole_table.rows import input_rows
from .whole_table.workshop import Workshop


class SingleStage:
    """A stage of one step that sees all its rows at once."""

    def __init__(self, session: Session, stage: Stage, executor: Executor) -> None:
        self.session = session
        self.stage = stage
        self.step = stage.head
        self.executor = executor
        self.context: Context = session.context(self.step, executor.models)
        self.store = session.run.begin_step(self.step.name, self.step.fingerprint)
        self._usage = StepUsage()
        self._started = time.monotonic()

    def drop_outdated(self) -> None:
        """Drop the parts whose input rows have changed since they were made. Raises StoreError."""
        origin = self._origin()
        basis, parts = self.stage.basis, self.store.parts()
        if outdated := [part for part in parts if part.basis != basis or part.origin != origin]:
            self.session.outdated(self.step.name)
            self.store.drop(*outdated)

    async def run(self) -> None:
        """Run the step in a thread, so that Ctrl-C is noticed. Raises the error that stops the run."""
        self.session.check()
        assert isinstance(self.context, OperatorContext)
        self.context = replace(self.context, loop=asyncio.get_running_loop())
        STEP_USAGE.set(self._usage)  # the thread below asks engines in this context
        with of_step(self.step.name):
            made = await asyncio.to_thread(self._made)
        takes_rows = self.step.inputs or self.step.earlier
        inputs = len(self.session.rows(self.step)) if takes_rows else None
        self.session.started(self.step, inputs, self.store.ledger().rows_in)
        stop = self.session.stop
        stop.patience = stop.TRAINING if isinstance(self.step.operator, Train) else stop.PATIENCE
        try:
            with of_step(self.step.name):
                await asyncio.to_thread(self._work, made)
        finally:
            stop.patience = stop.PATIENCE
        self.session.done(self.step)

    def _work(self, part: Part | None) -> None:
        """Make the step's output, unless it is complete: then ``part`` is its last one."""
        kinds: dict[type[Operator], Callable[[Any], bool]] = {
            Source: self._source,
            WholeTable: self._whole,
            Train: self._train,
            Sink: self._sink,
        }
        operator = self.step.operator
        work = next(work for kind, work in kinds.items() if isinstance(operator, kind))
        one_to_one = False
        if part is None:
            one_to_one = work(operator)
            part = self.store.parts()[-1]
        self.session.finish(
            self.step,
            one_to_one=one_to_one,
            seconds=time.monotonic() - self._started,
            summary=self._summary(part),
            products=part.products,
        )
        shutil.rmtree(self.context.workdir, ignore_errors=True)

    def _source(self, operator: Source) -> bool:
        SourceRows(self.context, self.executor.tasks, self.store, self._said(), self._committed).commit(
            operator
        )
        return True

    def _whole(self, operator: WholeTable) -> bool:
        rows = input_rows(self.session.rows(self.step), self._workshop())
        names = viewed(operator, rows.column_names)
        own = filled_stored(rows, self.step.declared)
        seen = ViewedRows(own, names) if names else own
        result = operator.judge(seen, self.context) if rows.num_rows else TableResult()
        fingerprint = self.step.fingerprint
        if isinstance(result, NewRows):
            made = from_new_rows(rows.table(), result, fingerprint=fingerprint)
            self._commit_all(made, rows.num_rows, result.summary)
            return False
        ResultTasks(rows, result, self._said(), usage=self._usage.usage).carry_out(self._committed)
        return True

    def _workshop(self) -> Workshop:
        memory = Shares.of(self.session.memory, self.executor.tasks.width)
        if self.session.memory < memory.needed:
            self.session.short_of_memory(self.step.name, memory.needed)
        return Workshop(
            context=self.context,
            pool=self.executor.tasks.within(memory.width),
            memory=memory.operator,
            task_memory=memory.task,
            tell=self.session.notice,
            run=self.session.run.path,
        )

    def _train(self, operator: Train) -> bool:
        session = self.session
        rows = session.rows_with_inputs if operator.by_input else lambda step: session.rows(step).all()
        table = rows(self.step)
        self.context.workdir.mkdir(parents=True, exist_ok=True)
        trained = self.executor.train(operator, table, self.context, self.session.notice)
        run = self.session.run.path
        _copy_directory(trained.adapter, self.store.model)
        write_sealed(self.store.history, trained.history, {})
        products = [*products_in(self.store.model, run), Product.of(self.store.history, run)]
        reasons: dict[str, str] = {}
        if trained.left_out is not None and trained.left_out.num_rows:
            write_sealed(self.store.left_out, trained.left_out, {})
            products.append(Product.of(self.store.left_out, run))
            reasons = dict(zip(*(trained.left_out[name].to_pylist() for name in ("row", "reason"))))
        used, names = trained_ids(trained), table[ID].to_pylist()
        kept = np.array([name in used for name in names], bool)
        rules = [None if name in used else reasons.get(name, "not trained on") for name in names]
        fates = from_table_result(_ids(table), TableResult(kept=kept, rule=rules))
        self._commit(fates, 0, table.num_rows, trained.metrics, products)
        return True

    def _sink(self, operator: Sink) -> bool:
        rows = input_rows(self.session.rows(self.step), self._workshop())
        default = self.session.run.exports(self.step.name)
        written = operator.export(filled_stored(rows, self.step.declared), self.context, default)
        # Relative to the run directory, which may be moved and whose name must not change the digest.
        location = f"exports/{self.step.name}" if written.location == str(default) else written.location
        summary = {"location": location, "files": list(written.files), "rows": written.rows}
        products = [Product.of(path, self.session.run.path) for path in local_files(written)]
        ids = ResultTasks(rows, TableResult(summary=summary), self._said(), (ID, PARENTS), products)
        ids.carry_out(self._committed)
        return True

    def _made(self) -> Part | None:
        """The last part of a step that finished its output but was not marked as complete.

        Its summary says that all parts are there. Without it, those of a step other than a source are
        dropped: the step decides about all rows again.
        """
        parts = self.store.parts()
        starts, stops = [part.start for part in parts], [0, *(part.stop for part in parts)]
        is_source = isinstance(self.step.operator, Source)
        rows = -1 if is_source else len(self.session.rows(self.step))
        whole = starts == stops[:-1] and self.store.ledger().rows_in == rows
        if parts and parts[-1].summary is not None and whole and self._has_products(parts[-1]):
            return parts[-1]
        if not isinstance(self.step.operator, Source):
            self.store.drop(*parts)
        return None

    def _has_products(self, part: Part) -> bool:
        run, replaced = self.session.run.path, self.session.replaced(self.step)
        whole = all(each.holds(run) or replaced(each) for each in part.products)
        return whole and next(strangers(self.store.model, part.products, run), None) is None

    def _summary(self, part: Part) -> dict[str, Any]:
        summary = dict(part.summary or {})
        if isinstance(self.step.operator, Sink) and part.products:
            # From the files themselves: relative paths in a pipeline file start at the working directory.
            first = part.products[0].place(self.session.run.path)
            summary["location"] = str(first.parents[len(Path(summary["files"][0]).parts) - 1])
        return summary

    def _origin(self) -> str:
        """A digest of the step's input."""
        rows = self.session.rows(self.step)
        return self.session.origin(rows.origin(0, len(rows)), self.session.beside(self.step))

    def _said(self) -> dict[str, Any]:
        """What all parts of the step have in common."""
        return {
            "folder": self.store.path,
            "step": self.step.fingerprint,
            "basis": self.stage.basis,
            "origin": self._origin(),
        }

    def _commit(
        self,
        table: pa.Table,
        start: int,
        rows: int,
        summary: Mapping[str, Any] | None = None,
        products: Sequence[Product] = (),
    ) -> None:
        said = {"start": start, "stop": start + rows, "rows_in": rows}
        self._write(table, **said, summary=summary, products=products)

    def _write(self, table: pa.Table, **said: Any) -> None:
        part = self.store.write(table, basis=self.stage.basis, usage=Usage(), origin=self._origin(), **said)
        self._committed(part)

    def _commit_all(self, table: pa.Table, rows: int, summary: Mapping[str, Any]) -> None:
        """Commit rows that were made from ``rows`` input rows in several parts, numbered by what they hold.

        The last one has the input rows and the summary.
        """
        starts = range(0, max(1, table.num_rows), PART_ROWS)
        for start in starts:
            piece = table.slice(start, PART_ROWS)
            last = start == starts[-1]
            stop = start + piece.num_rows
            said = {"start": start, "stop": stop, "rows_in": rows if last else 0}
            self._write(piece, **said, summary=summary if last else None)

    def _committed(self, part: Part) -> None:
        self.store.add(part)
        self.session.committed(self.step, part, time.monotonic() - self._started)


def trained_ids(trained: Trained) -> set[str]:
    """The ``_id`` of every row that was in a batch."""
    return {name for rows in trained.history["rows"].to_pylist() for name in rows}


def _ids(table: pa.Table) -> pa.Table:
    return table.select([ID, PARENTS])


def _copy_directory(source: Path, target: Path) -> None:
    """Copy a finished directory into place atomically: at any time either the old or the new one exists."""
    ready = target.with_name(f"{target.name}{TEMPORARY}")
    with disk(target, "cannot write"):
        remove(ready)
        shutil.copytree(source, ready)
        replace_directory(ready, target)
