"""Carries out the steps that run alone: sources, whole-table operators, training and exports."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..inference import Usage
from ..operator import Context, Made, Operator, Sink, Source, Train, Trained, Verdicts, Whole
from ..store.files import disk, write_bytes
from ..store.parts import ID, PARENTS
from .context import Models
from .outcomes import from_made, from_source, from_verdicts
from .session import Session
from .stages import Stage

#: Rows of a source that are committed together.
SOURCE_ROWS = 65_536


class SingleStage:
    """A stage of one step that sees all its rows at once."""

    def __init__(self, session: Session, stage: Stage, models: Models) -> None:
        self.session = session
        self.stage = stage
        self.step = stage.head
        self.context: Context = session.context(self.step, models)
        self.store = session.run.begin_step(self.step.name, self.step.fingerprint)
        self._started = time.monotonic()

    async def run(self) -> None:
        """Do the step's work in a thread, so that Ctrl-C is heard. Raises what stops the run."""
        self.session.check()
        inputs = len(self.session.rows(self.step)) if self.step.inputs else None
        self.session.started(self.step, inputs, self.store.ledger().rows_in)
        stop = self.session.stop
        stop.patience = stop.TRAINING if isinstance(self.step.operator, Train) else stop.PATIENCE
        try:
            await asyncio.to_thread(self._work)
        finally:
            stop.patience = stop.PATIENCE
        self.session.done(self.step)

    def _work(self) -> None:
        kinds: dict[type[Operator], Callable[[Any], tuple[Mapping[str, Any], bool]]] = {
            Source: self._source,
            Whole: self._whole,
            Train: self._train,
            Sink: self._sink,
        }
        operator = self.step.operator
        work = next(work for kind, work in kinds.items() if isinstance(operator, kind))
        summary, one_to_one = work(operator)
        seconds = time.monotonic() - self._started
        self.session.finish(self.step, one_to_one=one_to_one, seconds=seconds, summary=summary)
        shutil.rmtree(self.context.workdir, ignore_errors=True)

    def _source(self, operator: Source) -> tuple[Mapping[str, Any], bool]:
        have = {part.start for part in self.store.parts()}
        # The next rows are read while the last ones are written.
        with ThreadPoolExecutor(max_workers=1) as writer:
            writing: Future[None] | None = None
            for start, table in _chunks(operator.read(self.context), SOURCE_ROWS):
                self.session.check()
                if start in have:
                    continue
                made = from_source(table, self.step.fingerprint, start)
                if writing is not None:
                    writing.result()
                writing = writer.submit(self._commit, made, start, table.num_rows)
            if writing is not None:
                writing.result()
        return {}, True

    def _whole(self, operator: Whole) -> tuple[Mapping[str, Any], bool]:
        table = self.session.rows(self.step).all()
        result = operator.apply(table, self.context) if table.num_rows else Verdicts()
        if isinstance(result, Made):
            made = from_made(table, result, step=self.step.name, fingerprint=self.step.fingerprint)
        else:
            made = from_verdicts(table, result, step=self.step.name)
        self._commit(made, 0, table.num_rows)
        return result.summary, isinstance(result, Verdicts)

    def _train(self, operator: Train) -> tuple[Mapping[str, Any], bool]:
        table = self.session.rows(self.step).all()
        self.context.workdir.mkdir(parents=True, exist_ok=True)
        trained = operator.fit(table, self.context)
        _replace_directory(trained.adapter, self.store.model)
        sink = pa.BufferOutputStream()
        pq.write_table(trained.history, sink, compression="zstd")
        write_bytes(self.store.history, memoryview(sink.getvalue()))
        used = trained_ids(trained)
        kept = np.array([name in used for name in table[ID].to_pylist()], bool)
        fates = from_verdicts(_ids(table), Verdicts(kept=kept, rule="not trained on"), step=self.step.name)
        self._commit(fates, 0, table.num_rows)
        return trained.metrics, True

    def _sink(self, operator: Sink) -> tuple[Mapping[str, Any], bool]:
        table = self.session.rows(self.step).all()
        default = self.session.run.path / "exports" / self.step.name
        with disk(default, "cannot make"):
            default.parent.mkdir(parents=True, exist_ok=True)
        written = operator.write(table, self.context, default)
        self._commit(from_verdicts(_ids(table), Verdicts(), step=self.step.name), 0, table.num_rows)
        summary = {"location": written.location, "files": list(written.files), "rows": written.rows}
        return summary, True

    def _commit(self, table: pa.Table, start: int, rows: int) -> None:
        part = self.store.commit(
            table, start=start, stop=start + rows, basis=self.stage.basis, rows_in=rows, usage=Usage()
        )
        self.session.committed(self.step, part, time.monotonic() - self._started)


def trained_ids(trained: Trained) -> set[str]:
    """The ``_id`` of every row that was in some batch."""
    return {name for rows in trained.history["rows"].to_pylist() for name in rows}


def _ids(table: pa.Table) -> pa.Table:
    return table.select([ID, PARENTS])


def _chunks(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[tuple[int, pa.Table]]:
    """Record batches regrouped into tables of ``size`` rows, with the number of their first row.

    Always yields at least once, so that an empty source leaves an (empty) part.
    """
    waiting: list[pa.RecordBatch] = []
    held = start = 0
    for batch in batches:
        waiting.append(batch)
        held += batch.num_rows
        while held >= size:
            table = pa.Table.from_batches(waiting)
            yield start, table.slice(0, size)
            start, held = start + size, held - size
            waiting = table.slice(size).to_batches()
    if waiting or start == 0:
        yield start, pa.Table.from_batches(waiting) if waiting else pa.table({})


def _replace_directory(source: Path, target: Path) -> None:
    """Copy a finished directory into place; a kill leaves none or all of it."""
    temporary = target.with_name(f"{target.name}.copying")
    with disk(target, "cannot write"):
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(source, temporary)
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
