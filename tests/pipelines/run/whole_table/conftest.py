"""The rows of a step on disk, as a whole-table operator gets them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.inference import Usage
from gristmill.pipelines.run.input_rows import InputRows
from gristmill.pipelines.run.outcomes import from_source
from gristmill.pipelines.run.whole_table.pool import ThreadTasks
from gristmill.pipelines.run.whole_table.rows import RowsOnDisk, input_rows
from gristmill.pipelines.run.whole_table.workshop import Workshop
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.store.step_store import StepStore


@dataclass
class Disk:
    """A run with one source. ``told``: what was said to the user."""

    run: RunDirectory
    context: Any
    store: StepStore
    told: list[str] = field(default_factory=list)

    def add(self, table: pa.Table, part_rows: int) -> None:
        """Commit rows in parts of this size; rows whose ``drop`` is true are filtered."""
        made = from_source(table, "f" * 64, 0)
        if "drop" in table.column_names:
            fates = pa.array(["filtered" if drop else "kept" for drop in table["drop"].to_pylist()])
            made = made.set_column(made.schema.get_field_index("_fate"), "_fate", fates)
        for start in range(0, table.num_rows, part_rows):
            piece = made.slice(start, part_rows)
            stop = start + piece.num_rows
            self.store.commit(
                piece, start=start, stop=stop, basis="b", rows_in=piece.num_rows, usage=Usage(), origin="o"
            )

    def rows(self, memory: int = 1 << 30, width: int = 2) -> RowsOnDisk:
        store = self.run.step(self.store.name, self.store.fingerprint)
        self.context.workdir = self.workdir
        share = Workshop(
            context=self.context,
            pool=ThreadTasks(width),
            memory=memory,
            task_memory=memory // 4,
            tell=lambda text, warning=False: self.told.append(text),
            run=self.run.path,
        )
        return input_rows(InputRows([store]), share)

    @property
    def workdir(self) -> Path:
        return self.run.workdir("step", "f" * 64)

    def spills(self, name: str = "") -> Sequence[Path]:
        """The spill files, of results with this name."""
        return sorted(self.workdir.glob(f"{name}*/*.arrow"))


MakeDisk = Callable[..., Disk]


@pytest.fixture
def make_disk(tmp_path: Path, context: Any) -> MakeDisk:
    """Make a run whose source has the rows of a table in parts of some size."""

    numbers = itertools.count()

    def make(table: pa.Table, part_rows: int = 7) -> Disk:
        run = RunDirectory.create(tmp_path / f"run{next(numbers)}", name="disk")
        disk = Disk(run, context, run.begin_step("source", "f" * 64))
        disk.add(table, part_rows)
        return disk

    return make
