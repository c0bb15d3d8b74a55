"""A column that only some answers have is null for the steps that name it, in every micro-batch."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gristmill
from gristmill.contracts.errors import DataError
from gristmill.pipelines.view.silent import SilentView

from ..engines.conftest import Reply, Server

FILE = """
gristmill: 1
name: thoughts
models: {m: {engine: openai, url: "URL", model: m}}
steps:
  prompts: {source: jsonl, path: prompts.jsonl}
  answers: {generate: respond, from: prompts, model: m, max_tokens: 20}
  step:    {STEP, from: answers}
"""
#: A step that names the column -> what it gives of a row with a thought and of one without.
STEPS = {
    "compute": ("compute: {had: 'Reasoning IS NOT NULL', calls: 'len(tool_calls)'}", "had", True, False),
    "render": ("render: {had: '{% if reasoning %}y{% else %}n{% endif %}'}", "had", "y", "n"),
    "keep": ("keep: 'reasoning IS NULL OR length(reasoning) > 1'", "n", None, None),
    "masked": ("score: personal_data, columns: [reasoning]", "n", None, None),
    "exact": ("dedup: exact, columns: [reasoning, prompt]", "n", None, None),
    "whole": ("select: random, rows: 64, group: [reasoning]", "n", None, None),
    "mean": ("keep: 'reasoning IS NULL OR len(reasoning) >= quantile(0.1)'", "n", None, None),
}


def ask(folder: Path, step: str, thinks: range) -> Any:
    """The run of 64 prompts, in micro-batches of 16 rows, of which those in ``thinks`` are thought about."""

    def reply(number: int, body: dict[str, Any]) -> Reply:
        asked = body["messages"][0]["content"]
        thought = {"reasoning_content": "hm so"} if int(asked.split()[1]) in thinks else {}
        return 200, {}, {"choices": [{"message": {"content": "fine", **thought}, "finish_reason": "stop"}]}

    server = Server(reply)
    rows = [{"n": number, "prompt": f"number {number}"} for number in range(64)]
    Path("prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = folder / "f.yaml"
    file.write_text(FILE.replace("URL", server.url).replace("STEP", step))
    with closing(server):
        return gristmill.run(file, observer=SilentView(io.StringIO()))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("thinks", [range(20, 30), range(0)], ids=["some", "none"])
@pytest.mark.parametrize("case", STEPS)
def test_a_step_that_names_it_sees_it_in_all_rows(case: str, thinks: range, tmp_path: Path) -> None:
    step, column, yes, no = STEPS[case]
    run = ask(tmp_path, step, thinks)
    table = run["step"].to_arrow()
    assert sorted(table["n"].to_pylist()) == list(range(64))
    if column != "n":
        found = dict(zip(table["n"].to_pylist(), table[column].to_pylist()))
        assert [found[number] for number in range(64)] == [yes if n in thinks else no for n in range(64)]


def test_it_is_no_column_of_rows_that_have_none(tmp_path: Path) -> None:
    table = ask(tmp_path, STEPS["compute"][0], range(0))["step"].to_arrow()
    assert not {"reasoning", "tool_calls"} & set(table.column_names)


def test_an_export_of_it_has_nulls(tmp_path: Path) -> None:
    ask(tmp_path, "export: parquet, path: out, columns: [prompt, reasoning]", range(0))
    (file,) = Path("out").rglob("*.parquet")
    table = pq.read_table(file)
    assert table.column_names == ["id", "prompt", "reasoning"]
    assert (table["reasoning"].type, table["reasoning"].null_count) == (pa.string(), 64)


def test_a_step_may_read_nothing_else(tmp_path: Path) -> None:
    """A null is a duplicate of nothing."""
    assert ask(tmp_path, "dedup: exact, columns: [reasoning]", range(0))["step"].to_arrow().num_rows == 64


def test_a_column_that_was_not_asked_for_is_missed(tmp_path: Path) -> None:
    """`respond` can record log-probabilities, and was not told to."""
    with pytest.raises(DataError, match="logprobs"):
        ask(tmp_path, "score: [self_certainty, mean_logprob]", range(0))


@pytest.mark.parametrize("thinks", [range(20, 30), range(0)], ids=["some", "none"])
def test_a_pool_has_it_too(thinks: range, tmp_path: Path) -> None:
    step = "draw: {}, pool: answers, pool_rows: 8, pool_columns: [prompt, reasoning]"
    rows = ask(tmp_path, step, thinks)["step"].to_arrow().to_pylist()
    drawn = [example for row in rows for example in row["examples"]]
    assert len(drawn) == 64 * 8
    for example in drawn:
        thought = int(example["prompt"].split()[1]) in thinks
        assert example["reasoning"] == ("hm so" if thought else None)
