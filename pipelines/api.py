"""Gristmill from Python: run a pipeline file, and take its steps as Arrow, pandas or Hugging Face data.

import gristmill
run = gristmill.run("quickstart.yaml")
run["chosen"].to_pandas()
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..contracts.errors import GristmillError
from ..contracts.guard import guard_log
from .run.allocation import allocation
from .run.budget import Stop
from .run.events import Observer, Observers
from .run.loop import MakeExecutor, RoundLoop, run_here
from .store.parts import FAILED, FATE, FILTERED, KEPT, REASON
from .store.run_directory import RunDirectory
from .store.step_store import StepStore
from .store.vectors import remove_remains
from .view.choose import choose
from .view.trackers import observer as tracker

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa

ExecutorName = Literal["local", "ray"]
T = TypeVar("T")


def run(
    file: str | Path,
    run: str | Path | None = None,
    *,
    executor: ExecutorName = "local",
    ray_address: str | None = None,
    overrides: Sequence[str] = (),
    observer: Observer | None = None,
    until: str | None = None,
    retry_failed: bool = False,
    memory: int | None = None,
    stop: Stop | None = None,
) -> Run:
    """Run a pipeline file to its end; resume if its run directory already holds results.

    ``file``: a path, or the name of a packaged recipe. ``run``: the run directory (default: the file's
    ``out``, else ``runs/NAME``). ``overrides``: in the form of ``--set``, ``"steps.answers.samples=2"``.
    ``until``: the last step to run. ``retry_failed``: run parts with failed rows again. ``memory``: bytes
    that the process may use in whole-table steps and exports (default: the file's ``memory``, else half of
    what is free).

    Raises GristmillError: SpecError for a file with mistakes, BudgetReached, StoreError, and so on.
    """
    from .plan.read import read_file

    guard_log()
    spec = read_file(str(file), overrides)
    directory = RunDirectory.create(Path(run) if run is not None else spec.directory, name=spec.name)
    if until is not None and until not in spec.steps:
        raise GristmillError(
            f"there is no step {until!r} to stop after; the steps are {', '.join(spec.steps)}"
        )
    limit = memory or spec.memory
    allocated = allocation(limited=limit is not None)
    with directory.lock(), allocated, _executors(executor, ray_address) as make_executor:
        mended = directory.mend()
        remove_remains(directory.path)
        directory.write_spec(spec.recorded())
        loop = RoundLoop(
            spec=spec,
            file=str(file),
            run=directory,
            observer=Observers(observer or choose(), *(tracker(service) for service in spec.metrics)),
            stop=stop or Stop(),
            make_executor=make_executor,
            retry_failed=retry_failed,
            until=until,
            memory=limit,
            mended=mended,
            overrides=overrides,
        )
        wait(loop.go(), loop.stop)
    return Run(directory)


def open_run(path: str | Path) -> Run:
    """Open an earlier run. Raises StoreError if there is none."""
    return Run(RunDirectory.open(path))


class Run:
    """The results of a run:

    ``run["chosen"]`` is a step of the last round, ``run["chosen@1"]`` of the first.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory

    @property
    def path(self) -> Path:
        return self.directory.path

    def __getitem__(self, name: str) -> StepRows:
        """Return the rows of a step. Raises KeyError with the names of the existing steps."""
        step, _, number = name.rpartition("@") if name.rpartition("@")[2].isdigit() else (name, "", "")
        rounds = [each for each in self.directory.rounds() if not number or each.number == int(number)]
        for each in reversed(rounds):
            if step in each.plan["steps"]:
                return StepRows(self.directory.step(step, each.plan["steps"][step]["fingerprint"]))
        raise KeyError(f"no step {name!r} in {self.path}; there are {', '.join(self)}")

    def __iter__(self) -> Iterator[str]:
        rounds = self.directory.rounds()
        return iter(rounds[-1].plan["steps"] if rounds else ())

    @property
    def results(self) -> list[dict[str, Any]]:
        """The decision and the metrics of each finished round."""
        return [each.result for each in self.directory.rounds() if each.result is not None]

    def report(self, against: Run | str | Path | None = None) -> Path:
        """Write ``report.html`` into the run's directory and return its path.

        ``against``: another run, or its directory, to compare with; the file is ``report-against-NAME.html``.
        """
        from .report.build import build

        other: RunDirectory | str | Path | None
        other = against.directory if isinstance(against, Run) else against
        if other is not None and not isinstance(other, RunDirectory):
            other = RunDirectory.open(other)
        return build(self.directory, other)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, steps={list(self)})"


class StepRows:
    """Rows of a step: those that it kept, or with another ``fate``; None for all."""

    def __init__(self, store: StepStore, fate: str | None = KEPT) -> None:
        self.store = store
        self.fate = fate

    @property
    def kept(self) -> StepRows:
        """The rows that the step kept."""
        return StepRows(self.store, KEPT)

    @property
    def rejected(self) -> StepRows:
        """The rows that the step filtered. ``_reason`` says by which rule, and at which score."""
        return StepRows(self.store, FILTERED)

    @property
    def failed(self) -> StepRows:
        """The rows that could not be made or judged. ``_reason`` says why."""
        return StepRows(self.store, FAILED)

    @property
    def rows(self) -> StepRows:
        """All rows that the step finished; ``_fate`` says what happened to each."""
        return StepRows(self.store, None)

    def to_arrow(self) -> pa.Table:
        """The rows with their ``_id`` and ``_parents``; those that were not kept also with ``_reason``."""
        table = self.store.table(fate=self.fate)
        own = {KEPT: (FATE, REASON), None: ()}.get(self.fate, (FATE,))
        return table.drop_columns([name for name in own if name in table.column_names])

    def outcomes(self) -> pa.Table:
        """All rows that the step finished, including those that were filtered or failed.

        ``_fate`` is ``kept``, ``filtered`` or ``failed``. ``_reason`` is a struct that says why a row was not
        kept: the rule and its score, or the error.
        """
        return self.store.table(fate=None)

    def to_pandas(self) -> pd.DataFrame:
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_hf(self) -> datasets.Dataset:
        from datasets import Dataset

        return Dataset(self.to_arrow())

    def __len__(self) -> int:
        ledger = self.store.ledger()
        counts = {KEPT: ledger.kept, FILTERED: ledger.filtered, FAILED: ledger.failed}
        return sum(counts.values()) if self.fate is None else counts[self.fate]

    def __repr__(self) -> str:
        return f"Rows({self.store.name!r}, {len(self)}{f' {self.fate}' if self.fate else ''})"


def wait(work: Coroutine[Any, Any, T], stop: Stop | None = None) -> T:
    """The result of a coroutine, run in a new thread if an event loop is already running (in a notebook).

    ``stop``: asked when a notebook's kernel is interrupted, so that the work ends by itself.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        # In the context of the cell, where its outputs are looked up.
        done = pool.submit(copy_context().run, asyncio.run, work)
        try:
            return done.result()
        except KeyboardInterrupt:
            if stop is None:
                raise
            stop.ask()
            return done.result()


@contextmanager
def _executors(name: ExecutorName, address: str | None) -> Iterator[MakeExecutor]:
    if name == "local":
        yield run_here
        return
    if (Path.home() / ".ray" / "auth_token").exists():
        # Clusters ask for the user's token by default; a client sends it only if this is set
        # before Ray is imported.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from .run.ray_connection import connect, disconnect
    from .run.ray_executor import RayExecutor

    started = connect(address)
    try:
        yield RayExecutor
    finally:
        disconnect(started)
