"""The deterministic steps of a run are made again and compared, down to the row that differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import gristmill
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.inspect.replay.replay import ReplayedStep, replay
from gristmill.pipelines.store.integrity import check
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.view.silent import SilentView

FILE = """
gristmill: 1
name: again
seed: 3
models: {{writer: {{engine: synthetic}}}}
steps:
  tasks:   {{source: jsonl, path: "{folder}/tasks.jsonl"}}
  asked:   {{compute: {{words: "length(prompt)"}}, from: tasks}}
  said:    {{generate: respond, from: asked, model: writer, max_tokens: 4}}
  long:    {{compute: {{long: "length(response) > 3"}}, from: said}}
  kept:    {{keep: "words > 0", from: long}}
  mix:     {{dedup: exact, columns: [_id], from: [kept, kept@all]}}
  chosen:  {{select: random, rows: 7, from: mix}}
  dataset: {{export: jsonl, from: chosen, path: "{folder}/out.jsonl.gz"}}
  inside:  {{export: parquet, from: chosen}}
  apart:   {{source: count, rows: 2}}
loop: {{rounds: 2}}
"""
MADE = ["tasks", "asked", "long", "kept", "kept@all_only", "mix", "chosen", "dataset", "inside", "apart"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    rows = [{"prompt": f"What is {number}?"} for number in range(6)]
    (folder / "tasks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "again.yaml").write_text(FILE.format(folder=folder))
    with (folder / "told").open("w") as told:
        gristmill.run(folder / "again.yaml", folder / "run", observer=SilentView(told))
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunDirectory:
    """A copy of the run, to be damaged."""
    shutil.copytree(finished, tmp_path / "run")
    return RunDirectory.open(tmp_path / "run")


def found(run: RunDirectory) -> dict[str, ReplayedStep]:
    """The last round's result of each step."""
    return {each.step: each for each in replay(run, verify=True)}


def test_every_deterministic_step_comes_out_the_same(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in finished.parent.rglob("*") if path.is_file()}
    told = list(replay(RunDirectory.open(finished), verify=True))
    assert {each.step for each in told if each.state == "equal"} == set(MADE)
    assert {each.state for each in told if each.step in MADE} == {"equal"}
    assert [(each.step, each.rounds) for each in told if each.step in ("tasks", "kept")] == [
        ("tasks", (1, 2)), ("kept", (1,)), ("kept", (2,)),
    ]  # fmt: skip
    assert {each.why for each in told if each.step == "said"} == {"asked a model (writer)"}
    assert {path: path.read_bytes() for path in finished.parent.rglob("*") if path.is_file()} == before
    assert main(["replay", str(finished)]) == 2, "its file is loaded, and is not below this directory"
    assert "add --trust" in capsys.readouterr().err
    assert main(["replay", str(finished), "--trust"]) == 0
    out = capsys.readouterr().out
    assert "17 steps can be made again (--verify does it); 2 steps not deterministic" in out


@pytest.mark.parametrize("step", ["tasks", "kept"])
def test_a_flipped_byte_is_told_with_its_step_and_row(run: RunDirectory, step: str) -> None:
    store = next(each for each in run.planned_rounds()[2] if each.name == step)
    path, store_ids = store.files()[0], store.table(fate=None)["_id"].to_pylist()
    data = bytearray(path.read_bytes())
    at = data.index(b"\x28\xb5\x2f\xfd") + 12  # inside the first compressed page: that of the prompts
    data[at] ^= 0x40
    path.write_bytes(data)
    told = found(run)
    assert {each.step for each in told.values() if each.state == "different"} == {step}
    [difference] = told[step].differences
    assert difference.file == path.name
    assert difference.column == "prompt"
    assert difference.row == store_ids[0]
    assert store_ids[-1] in difference.what
    assert all(told[other].state == "equal" for other in MADE if other != step), (
        "later steps are made again too"
    )


def test_a_row_that_no_step_makes_is_found_though_every_seal_is_sound(run: RunDirectory) -> None:
    store = next(each for each in run.planned_rounds()[2] if each.name == "kept")
    manifest, [part] = store.manifest, store.parts()
    table = part.read(fate=None)
    at = table.column_names.index("words")
    words = table["words"].to_pylist()
    words[3] += 1
    forged = table.set_column(at, "words", pa.array(words, table["words"].type))
    said = {"start": part.start, "stop": part.stop, "basis": part.basis, "rows_in": part.ledger.rows_in}
    store.commit(forged.drop_columns(["_reason"]), **said, usage=part.usage, origin=part.origin)
    store.finish(operator="keep", one_to_one=True, seconds=1.0, summary=manifest["summary"])
    assert not [each for each in check(run) if each.path == part.path], "its file is as it was written"
    told = found(run)
    [difference] = told["kept"].differences
    assert (difference.column, difference.row) == ("words", table["_id"].to_pylist()[3])
    assert difference.what == f"it holds {words[3]}, and the step makes {words[3] - 1}"
    # What was made of the row before it was forged differs from what is made of it now.
    assert told["mix"].differences[0].column == "words"
    assert "made from other rows" in told["kept@all_only"].differences[0].what
    assert told["long"].state == told["dataset"].state == "equal"


def test_a_source_file_that_is_gone_costs_only_the_steps_after_it(run: RunDirectory, finished: Path) -> None:
    file = finished.parent / "tasks.jsonl"
    rows = file.read_text()
    file.unlink()
    try:
        told = found(run)
    finally:
        file.write_text(rows)
    assert {each.step for each in told.values() if each.state == "equal"} == {"apart"}
    assert {each.state for each in told.values() if each.step != "apart"} == {"unknown"}
    assert "tasks.jsonl: no such file" in told["tasks"].why
    assert told["kept"].why == f"it depends on tasks: {told['tasks'].why}"


BLOCK = """
gristmill: 1
name: block
models:
  writer: {{engine: synthetic}}
  taught: {{engine: transformers, path: {folder}/weights}}
steps:
  tasks: {{source: count, rows: 3}}
  apart: {{compute: {{twice: number * 2}}, from: tasks}}
  turns:
    repeat: 3
    first: {{posed: {{from: tasks}}}}
    steps:
      posed:  {{render: {{prompt: "{folder}/asked.jinja"}}, from: previous.longer}}
      longer: {{compute: {{length: length(prompt)}}, from: posed}}
      judged: {{generate: respond, from: longer, model: writer, max_tokens: 2}}
  answers: {{generate: respond, from: longer_1, model: taught, max_tokens: 2}}
  counted: {{compute: {{n: length(response)}}, from: answers}}
"""


def test_a_file_or_a_model_that_is_gone_costs_only_what_needs_it(
    tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    weights, template = make_model(name="weights"), tmp_path / "asked.jinja"
    template.write_text("What is {{ number }}?")
    (tmp_path / "block.yaml").write_text(BLOCK.format(folder=tmp_path))
    with (tmp_path / "told").open("w") as told:
        gristmill.run(tmp_path / "block.yaml", tmp_path / "run", observer=SilentView(told))
    run = RunDirectory.open(tmp_path / "run")
    shutil.rmtree(weights)
    states = found(run)
    equal = {"tasks", "apart", *(f"{name}_{turn}" for name in ("posed", "longer") for turn in (1, 2, 3))}
    assert {name for name, each in states.items() if each.state == "equal"} == equal
    assert {name for name, each in states.items() if each.state == "unknown"} == {"answers", "counted"}
    assert states["answers"].why.startswith("it depends on taught: ")
    assert str(weights) in states["answers"].why
    template.unlink()
    states = found(run)
    assert {name for name, each in states.items() if each.state == "equal"} == {"tasks", "apart"}
    assert "asked.jinja" in states["posed_1"].why
    assert states["longer_1"].why == f"it depends on posed_1: {states['posed_1'].why}"
    assert {each.state for each in states.values()} == {"equal", "unknown"}


def test_an_export_that_was_changed_is_told(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    [file] = (run.path / "exports" / "inside").rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert main(["replay", str(run.path), "--verify", "--trust"]) == 1
    out = capsys.readouterr().out
    assert f"inside: {file.relative_to(run.path)}: its bytes are not those that were written" in out
    assert "17 steps made again: 16 equal, 1 different; 2 steps not deterministic" in out


def test_a_step_that_is_planned_differently_now_is_not_made_again(finished: Path, run: RunDirectory) -> None:
    run.write_spec(run.spec().replace("rows: 7", "rows: 6"))
    told = found(run)
    assert told["chosen"].state == "unknown"
    assert "rows changed: 7 -> 6" in told["chosen"].why
    assert told["mix"].state == "equal"
