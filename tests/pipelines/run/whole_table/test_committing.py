"""A result is committed in parts that together are the result, or the step decides again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gristmill
from gristmill.contracts import stored_rows
from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import Failed, TableResult
from gristmill.filters.dedup.exact import ExactDedup
from gristmill.pipelines.run.budget import Interrupted, Stop
from gristmill.pipelines.run.events import Event, PartDone
from gristmill.pipelines.run.verdicts import from_table_result
from gristmill.pipelines.run.whole_table.committing import ResultTasks
from gristmill.pipelines.store.parts import Part

ROWS = 40


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(stored_rows, "BATCH_ROWS", 7)


@st.composite
def results(draw) -> TableResult:
    """A result of any form for ``ROWS`` rows."""
    seed = np.random.default_rng(draw(st.integers(0, 2**32)))
    kept = seed.random(ROWS) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    duplicate_of = np.where(seed.random(ROWS) < 0.5, seed.integers(0, ROWS, ROWS), -1)
    errors = [Failed("broken", True) if seed.random() < 0.1 else None for _ in range(ROWS)]
    return TableResult(
        kept=draw(st.sampled_from([kept, None])),
        rule=draw(st.sampled_from(["copy", [f"rule {n % 3}" if n % 4 else None for n in range(ROWS)]])),
        score=draw(st.sampled_from([seed.random(ROWS), None])),
        duplicate_of=draw(st.sampled_from([duplicate_of, None])),
        errors=draw(st.sampled_from([errors, None])),
        columns=draw(st.sampled_from([{"n": pa.array(range(ROWS))}, {}])),
        summary={"seen": ROWS},
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(result=results(), part_rows=st.integers(3, 40))
def test_the_parts_are_the_result_for_the_whole_table(make_disk, result: TableResult, part_rows: int) -> None:
    disk = make_disk(pa.table({"text": [f"text {n}" for n in range(ROWS)]}), part_rows)
    rows, store = disk.rows(), disk.run.begin_step("step", "e" * 64)
    said = {"folder": store.path, "step": "e" * 64, "basis": "b", "origin": "o"}
    parts: list[Part] = []
    ResultTasks(rows, result, said).carry_out(parts.append)
    assert store.table(fate=None).sort_by("_id").to_pylist() == from_rows(rows.table(), result)
    whole = sorted(parts, key=lambda part: part.start)
    assert [part.start for part in whole] == [0, *(part.stop for part in whole[:-1])]
    assert [part.summary for part in whole] == [None] * (len(whole) - 1) + [{"seen": ROWS}]
    assert parts[-1] is whole[-1]


def from_rows(table: pa.Table, result: TableResult) -> list[dict[str, object]]:
    made = from_table_result(table, result)
    if "_reason" not in made.column_names:
        made = made.append_column("_reason", pa.nulls(made.num_rows))
    return made.sort_by("_id").to_pylist()


def test_a_row_number_that_does_not_exist_is_refused(make_disk) -> None:
    rows = make_disk(pa.table({"text": ["a", "b"]})).rows()
    result = TableResult(kept=np.array([True, False]), duplicate_of=np.array([-1, 2]))
    with pytest.raises(DataError, match="duplicate_of names row 2, but the rows are 0 to 1"):
        ResultTasks(rows, result, {}).carry_out(lambda part: None)


PIPELINE = """
gristmill: 1
name: parts
steps:
  texts: {source: jsonl, path: texts.jsonl}
  unique: {dedup: exact, columns: [text], from: texts}
  chosen: {select: random, rows: 20, from: unique}
"""


class StopAfter:
    """Asks to stop when so many parts of the step are committed."""

    def __init__(self, parts: int) -> None:
        self.left, self.stop = parts, Stop()

    def on(self, event: Event) -> None:
        if isinstance(event, PartDone) and event.step == "unique":
            self.left -= 1
            if not self.left:
                self.stop.ask()


class Nothing:
    def on(self, event: Event) -> None:
        return


@pytest.fixture
def judged(tmp_path: Path, monkeypatch) -> list[int]:
    """The file, in the working directory; and the rows of each call of the step's operator."""
    monkeypatch.chdir(tmp_path)
    Path("texts.jsonl").write_text("".join(f'{{"text": "text {n % 31}"}}\n' for n in range(50)))
    Path("parts.yaml").write_text(PIPELINE)
    calls: list[int] = []
    judge = ExactDedup.judge

    def counted(self, rows, context):
        calls.append(rows.num_rows)
        return judge(self, rows, context)

    monkeypatch.setattr(ExactDedup, "judge", counted)
    return calls


def files(run: Path) -> dict[str, bytes]:
    return {path.parent.name + path.name: path.read_bytes() for path in run.glob("steps/*/part-*")}


@pytest.mark.parametrize("parts", [1, 4, 7])
def test_a_step_stopped_between_two_parts_decides_again(judged: list[int], parts: int) -> None:
    gristmill.run("parts.yaml", "whole", observer=Nothing())
    stopping = StopAfter(parts)
    with pytest.raises(Interrupted):
        gristmill.run("parts.yaml", "run", observer=stopping, stop=stopping.stop)
    assert 0 < len(list(Path("run").glob("steps/unique-*/part-*"))) < 8
    run = gristmill.run("parts.yaml", "run", observer=Nothing())
    assert files(Path("run")) == files(Path("whole"))
    assert judged == [50, 50, 50]
    assert run["unique"].store.ledger().rows_in == 50


def test_a_step_with_all_its_parts_is_only_marked_as_complete(judged: list[int]) -> None:
    gristmill.run("parts.yaml", "run", observer=Nothing())
    before = files(Path("run"))
    next(Path("run").glob("steps/unique-*/manifest.json")).unlink()
    gristmill.run("parts.yaml", "run", observer=Nothing())
    assert judged == [50]
    assert files(Path("run")) == before


def test_a_step_that_lost_a_part_decides_again_and_nothing_after_it_does(judged: list[int]) -> None:
    gristmill.run("parts.yaml", "run", observer=Nothing())
    before = files(Path("run"))
    chosen = next(Path("run").glob("steps/chosen-*/manifest.json"))
    stamp = chosen.stat().st_mtime_ns
    next(Path("run").glob("steps/unique-*/part-000000000014-*")).unlink()
    gristmill.run("parts.yaml", "run", observer=Nothing())
    assert judged == [50, 50]
    assert files(Path("run")) == before
    assert chosen.stat().st_mtime_ns == stamp
