"""An error of a run names its step once, for every kind of step, with file and line if there is one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.pipelines.cli.main import main

PIPELINE = """\
gristmill: 1
name: faulty
models:
  base: {{engine: synthetic}}
steps:
  rows: {{source: 'faults:rows'}}
  {steps}
"""
#: Kind -> the step at fault and the error when it runs. Each step is named "bad".
RUNNING = {
    "source of a function": ("bad: {source: 'faults:broken'}", "after 1 items: KeyError"),
    "keep": ('bad: {keep: "numbr > 1", from: rows}', "no column 'numbr'.*did you mean 'number'"),
    "compute": ('bad: {compute: {twice: "2 * numbr"}, from: rows}', "no column 'numbr'"),
    "score": ("bad: {score: [mean_logprob], from: rows}", "needs the column 'logprobs'"),
    "score of a function": ("bad: {score: 'faults:wrong', from: rows}", "must return an Arrow array"),
    "map of a function": ("bad: {map: 'faults:renamed', from: rows}", "changed the column '_id'"),
    "last in a chain": (
        'more: {compute: {twice: "2 * number"}, from: rows}\n  bad: {compute: {more: "twic + 1"}, '
        "from: more}",
        "no column 'twic'.*did you mean 'twice'",
    ),
    "first in a chain": (
        'bad: {compute: {twice: "2 * numbr"}, from: rows}\n  more: {compute: {more: "twice + 1"}, from: bad}',
        "no column 'numbr'",
    ),
    "select": ("bad: {select: best, group: [text], by: scor, from: rows}", "needs the column 'scor'"),
    "select: vote": (
        "bad: {select: vote, group: [text], answer: text, by: numbr, from: rows}",
        "needs the column 'numbr'",
    ),
    "select: vote, of a row": (
        "bad: {select: vote, group: [text], answer: text, weight: negative, from: rows}",
        r"step bad: row \w+: .*a weight is a finite number from 0; found -1",
    ),
    "dedup": ("bad: {dedup: exact, columns: [txt], from: rows}", "needs the column 'txt'"),
    "decontaminate": (
        "bad: {decontaminate: {against: rows, columns: [txt]}, from: rows}",
        "have none of them",
    ),
    "pair": ("bad: {pair: preferences, by: txt, from: rows}", "'txt'"),
    "draw, when it is opened": (
        "bad: {draw: {}, pool: rows, pool_columns: [txt], from: rows}",
        "step 'rows' has no column 'txt'",
    ),
    "generate": (
        "bad: {generate: respond, model: base, from: rows}",
        "3 rows failed, the first with: the row has",
    ),
    "generate, refused": (
        "bad: {generate: template, template: '{{ txt }}', model: base, from: rows}",
        "3 rows failed, the first with: template",
    ),
    "verify: number": (
        "bad: {verify: number, from: rows}",
        "3 rows failed, the first with: column 'response' is missing",
    ),
    "verify: constraints": (
        "bad: {verify: constraints, from: rows}",
        "3 rows failed, the first with: column 'prompt' is missing",
    ),
    "evaluate: constraints": (
        "bad: {evaluate: constraints, model: base, tasks: rows}",
        "3 rows failed, the first with: column 'prompt' is missing",
    ),
    "evaluate: answers": (
        "bad: {evaluate: answers, template: '{{ txt }}', check: {verify: number}, model: base, tasks: rows}",
        "3 rows failed, the first with: template",
    ),
    "train": ("bad: {train: sft, model: tiny, max_length: 128, from: rows}", "3 rows cannot be trained on"),
    "export": ("bad: {export: parquet, columns: [txt], from: rows}", "no column 'txt'"),
    "export, of a row": (
        "bad: {export: jsonl, format: messages, from: rows}",
        r"step bad: row \w+: no chat form",
    ),
}
#: Errors found when the plan is made: nothing runs, and the error has the step's line.
PLANNED = {
    "keep": ('bad: {keep: "number >", from: rows}', "is not a DuckDB SQL expression"),
    "compute": ('bad: {compute: {twice: "SELECT 1"}, from: rows}', "compute"),
    "generate": ("bad: {generate: template, template: no.jinja, model: base, from: rows}", "cannot be read"),
    "map": ("bad: {map: 'faults:absent', from: rows}", "has no 'absent'"),
    "source": ("bad: {source: jsonl, path: nowhere.jsonl}", "no such file"),
    "source, at its line": ("bad: {source: jsonl, path: half.jsonl}", r"half\.jsonl:2: not JSON"),
    "unknown step": ("bad: {keep: passed, from: rowz}", "did you mean 'rows'"),
}
FAULTS = """
def rows():  # a plan does not know their columns
    for number in range(3):
        yield {"number": number, "text": "some", "negative": -1.0}

def broken():
    yield {"number": 1}
    raise KeyError("number")

def wrong(table: "pa.Table") -> float:
    return [1.0]

def renamed(table):
    return table.set_column(table.schema.get_field_index("_id"), "_id", table["_id"].take([2, 1, 0]))

import pyarrow as pa
renamed.__annotations__ = {"table": pa.Table, "return": pa.Table}
wrong.__annotations__ = {"table": pa.Table, "return": float}
"""


Tell = Callable[[str], tuple[int, str]]


@pytest.fixture
def told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Tell:
    """A function that runs a file with the given steps and returns the command's standard error."""
    monkeypatch.chdir(tmp_path)
    Path("half.jsonl").write_text('{"number": 1}\n{"number":\n')
    Path("faults.py").write_text(FAULTS)

    def run(steps: str) -> tuple[int, str]:
        text = PIPELINE.format(steps=steps)
        if "tiny" in steps:
            request.getfixturevalue("make_model")(name="tiny")
            text = text.replace("steps:", "  tiny: {path: ./tiny}\nsteps:")
        Path("faulty.yaml").write_text(text)
        code = main(["run", "faulty.yaml", "--run", "run", "--trust", "--quiet", "--no-report"])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(("step", "found"), RUNNING.values(), ids=RUNNING)
def test_a_running_step_is_named_once(told: Tell, step: str, found: str) -> None:
    code, said = told(step)
    [line] = [line for line in said.splitlines() if "warning" not in line.lower()][-1:]
    assert code == 1
    assert line.startswith("step bad: ")
    assert re.search(found, line), line
    assert len(re.findall(r"\bbad\b", line)) == 1
    assert "Traceback" not in said


@pytest.mark.parametrize(("step", "found"), PLANNED.values(), ids=PLANNED)
def test_a_step_that_cannot_be_planned_is_named_once_at_its_line(told: Tell, step: str, found: str) -> None:
    code, said = told(step)
    [line] = said.splitlines()
    assert code == 2
    assert re.match(r"faulty\.yaml:7:\d+: steps\.bad", line), line
    assert re.search(found, line), line
    assert len(re.findall(r"\bbad\b", line)) == 1
    assert not list(Path("run/steps").glob("*"))


def test_a_step_that_failed_before_is_named_again(told: Tell) -> None:
    """Its rows exist, so nothing runs that could name it."""
    first, again = (told(RUNNING["verify: number"][0])[1].splitlines()[-1] for _ in range(2))
    assert first == again
    assert again.startswith("step bad: 3 rows failed, the first with: column 'response' is missing")
