"""Pipelines made in Python: their data and functions are those of the program, their runs those of a file."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset

import gristmill
from gristmill.contracts.errors import DataError, GristmillError, SpecError

ROWS = [{"prompt": f"p{n}", "n": n} for n in range(4)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _kept(source: Any) -> list[dict[str, Any]]:
    pipeline = gristmill.Pipeline("small").step("rows", source=source)
    pipeline.step("kept", keep="n > 1", from_="rows")
    return pipeline.run()["kept"].to_arrow().select(["prompt", "n"]).to_pylist()


@pytest.mark.parametrize(
    "make",
    [
        list,
        pa.Table.from_pylist,
        pa.RecordBatch.from_pylist,
        pd.DataFrame,
        Dataset.from_list,
        lambda rows: Dataset.from_list([{"prompt": "x", "n": 0}, *rows]).select(range(1, 5)),
        lambda rows: duckdb.from_arrow(pa.Table.from_pylist(rows)),
    ],
    ids=["dicts", "table", "batch", "pandas", "data set", "part of a data set", "Arrow stream"],
)
def test_data_in_memory_is_a_source(make: Any) -> None:
    assert _kept(make(ROWS)) == ROWS[2:]


def test_equal_data_is_not_run_again_and_other_data_is() -> None:
    first = gristmill.Pipeline("p").step("rows", source=ROWS)
    first.run()
    same = gristmill.Pipeline("p").step("rows", source=pa.Table.from_pylist(ROWS)).plan()
    assert [cost.state for cost in same] == ["reused"]
    other = gristmill.Pipeline("p").step("rows", source=ROWS[1:]).plan()
    assert [cost.state for cost in other] == ["to run"]


def test_functions_of_the_program_are_steps() -> None:
    least = 2

    def numbers() -> Any:
        yield from ROWS

    def long_enough(row: dict[str, Any]) -> dict[str, Any] | None:
        return {"twice": 2 * row["n"]} if row["n"] >= least else None

    pipeline = gristmill.Pipeline({"name": "mine", "steps": {"rows": {"source": numbers}}})
    pipeline.step("chosen", map=long_enough, from_="rows")
    run = pipeline.run()
    assert run["chosen"].to_arrow()["twice"].to_pylist() == [4, 6]
    assert [cost.state for cost in pipeline.plan()] == ["reused", "reused"]
    least = 3  # a captured value is part of the function
    again = (
        gristmill.Pipeline("mine").step("rows", source=numbers).step("chosen", map=long_enough, from_="rows")
    )
    assert [cost.state for cost in again.plan()] == ["reused", "to run"]
    with pytest.raises(GristmillError, match="a Ray cluster cannot import it"):
        pipeline.run(executor="ray")


def test_a_step_tells_what_it_rejected_and_what_failed() -> None:
    def judged(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["n"] == 0:
            raise ValueError("no zero")
        return row if row["n"] > 1 else None

    pipeline = gristmill.Pipeline("f").step("rows", source=ROWS).step("judged", map=judged, from_="rows")
    step = pipeline.run()["judged"]
    assert [len(each) for each in (step, step.kept, step.rejected, step.failed, step.rows)] == [2, 2, 1, 1, 4]
    assert step.rejected.to_pandas()["n"].tolist() == [1]
    assert "no zero" in step.failed.to_arrow()["_reason"][0].as_py()["error"]
    assert step.rows.to_arrow()["_fate"].to_pylist() == ["failed", "filtered", "kept", "kept"]
    assert "_reason" not in step.to_arrow().column_names


def test_mistakes_are_those_of_a_file_all_at_once() -> None:
    pipeline = gristmill.Pipeline("wrong").step("rows", source=ROWS)
    pipeline.step("a", keep="nn > 1", from_="rows").step("b", keep="abs(prompt) > 1", from_="rows")
    with pytest.raises(SpecError) as caught:
        pipeline.plan()
    assert [problem.field for problem in caught.value.problems] == ["steps.a.keep", "steps.b.keep"]
    with pytest.raises(GristmillError, match="there is step 'a' already"):
        pipeline.step("a", keep="true", from_="rows")
    with pytest.raises(GristmillError, match=r"steps\.c\.keep: a pipeline cannot hold a set"):
        gristmill.Pipeline("w").step("c", keep={1}, from_="rows").plan()
    with pytest.raises(SpecError, match="'nowhere'"):
        gristmill.train({"train": "sft", "model": "nowhere", "data": ROWS})
    with pytest.raises(DataError, match="a source cannot be a Schema"):
        gristmill.Pipeline("w").step("rows", source=pa.schema([])).plan()


def test_the_commands_are_functions() -> None:
    pipeline = gristmill.Pipeline("c").model("m", engine="synthetic").step("rows", source=ROWS)
    pipeline.step("asked", generate="respond", from_="rows", model="m")
    assert "2 to run" in str(gristmill.plan(pipeline))
    assert [step.step for step in gristmill.preview(pipeline, 2)] == ["rows", "asked"]
    run = pipeline.run()
    row = run["asked"].to_arrow()["_id"][0].as_py()
    assert [fate.step for fate in gristmill.why(run, row).fates] == ["asked"]
    assert gristmill.why("runs/c", row) == gristmill.why(run, row)
    assert str(pipeline.write("c.yaml")) == "c.yaml"
    assert [cost.state for cost in gristmill.plan("c.yaml", "runs/c")] == ["to run", "to run"]


def test_a_pipeline_runs_where_an_event_loop_runs_already() -> None:
    async def cell() -> int:
        return len(gristmill.Pipeline("n").step("rows", source=ROWS).run()["rows"])

    assert asyncio.run(cell()) == 4


def test_the_public_names_are_complete_and_light() -> None:
    look = "import sys, gristmill; print(set(gristmill.__all__) <= set(dir(gristmill)), len(sys.modules)); "
    look += "print({'pydantic', 'pyarrow', 'torch', 'duckdb', 'yaml'} & set(sys.modules))"
    command = [sys.executable, "-P", "-c", look]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[0].startswith("True")
    assert told.splitlines()[1] == "set()"
    for name in gristmill.__all__:
        assert getattr(gristmill, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        gristmill.runn  # noqa: B018


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]),
        pd.DataFrame([[1, 2]], columns=[1, "1"]),
        pa.table([[1], [2], [3]], names=["a", "b", "a"]),
        pa.record_batch([[1], [2]], names=["a", "a"]),
    ],
)
def test_columns_with_one_name_are_refused_at_the_step(data: Any) -> None:
    with pytest.raises(DataError) as caught:
        gristmill.Pipeline("small").step("rows", source=data).plan()
    assert str(caught.value).startswith("steps.rows.source: the data has several columns named ")
    assert "give each column a name of its own" in str(caught.value)


@pytest.mark.parametrize("rows", [[{"a": 2**70}], [{"a": object()}], [{"a": 1}, {"a": "x"}], [{1: 2}]])
def test_rows_that_make_no_table_are_refused_at_the_step(rows: Any) -> None:
    with pytest.raises(DataError, match=r"^steps\.rows\.source: the data does not fit into a table: "):
        gristmill.Pipeline("small").step("rows", source=rows).plan()


def test_a_path_as_a_source_is_told_with_what_to_write() -> None:
    with pytest.raises(SpecError) as caught:
        gristmill.Pipeline("small").step("rows", source=Path("data/rows.jsonl")).plan()
    assert "steps.rows.source: should be a kind of data, not a path" in str(caught.value)
    assert "write `source: jsonl, path: data/rows.jsonl`" in str(caught.value)
