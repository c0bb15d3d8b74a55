from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from gristmill.contracts.inference import Usage
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.file.load import load
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.record import as_record
from gristmill.pipelines.run.outcomes import from_source
from gristmill.pipelines.store.run_directory import RunDirectory

FILE = """gristmill: 1
name: small
loop: {rounds: 2}
steps:
  rows: {source: constraints, rows: 3}
  unique: {dedup: exact, from: rows}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(FILE)
    return path


def done_run(file: Path, path: Path, *, rounds: int = 1) -> RunDirectory:
    """A run of the file whose rounds are all over."""
    run = RunDirectory.create(path, name="small")
    for number in range(1, rounds + 1):
        plan = make_plan(load(file), file=str(file), round=number)
        run.write_plan(number, as_record(plan))
        for step in plan.steps:
            store = run.begin_step(step.name, step.fingerprint)
            table = from_source(pa.table({"prompt": ["a", "b"]}), step.fingerprint, 0)
            store.commit(table, start=0, stop=2, basis="b", rows_in=2, usage=Usage())
            store.finish(operator=step.label, one_to_one=False, seconds=1.0, summary={})
        run.write_result(
            number, {"round": number, "decision": "none", "promoted": None, "metrics": {}, "carry": {}}
        )
    return run


def test_without_a_run_everything_is_to_run(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(file)]) == 0
    out = capsys.readouterr().out
    assert "small: round 1 of 2" in out
    assert "2 to run, 0 reused" in out
    assert not (file.parent / "runs").exists()


def test_the_default_run_directory_is_looked_into(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done_run(file, file.parent / "runs" / "small")
    assert main(["plan", str(file)]) == 0
    assert "small: round 2 of 2" in capsys.readouterr().out
    assert main(["plan", str(file), "--round", "1"]) == 0
    assert "nothing to run: all 2 steps are done" in capsys.readouterr().out


def test_against_a_run_says_why(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = done_run(file, file.parent / "earlier", rounds=2)
    assert main(["plan", str(file), "--against", str(run.path), "--set", "steps.rows.rows=4"]) == 0
    out = capsys.readouterr().out
    assert "small: round 1 of 2" in out
    assert "rows    rows changed: 3 -> 4" in out
    assert "unique  input 'rows' differs" in out
    assert main(["plan", str(file), "--against", str(run.path)]) == 0
    assert f"no step differs from {run.path}" in capsys.readouterr().out


def test_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(file), "--json", "--round", "2"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["round"] == 2
    assert list(record["steps"]) == ["rows", "unique"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["smal.yaml"], 2, "did you mean 'small.yaml'?"),
        (["."], 2, "is a folder, not a pipeline file"),
        (["small.yaml", "--round", "3"], 1, "there is no round 3: the file has 2"),
        (["small.yaml", "--against", "absent"], 1, "absent is not a run directory"),
        (["small.yaml", "--run", "."], 1, "is not a run directory"),
        (["small.yaml", "--set", "steps.row.rows=1"], 2, "did you mean 'rows'?"),
    ],
)
def test_mistakes(
    file: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *arguments]) == code
    assert said in capsys.readouterr().err


KEYED = """gristmill: 1
name: keyed
models:
  teacher: {engine: openai, url: "http://127.0.0.1:9/v1", model: m, key_env: GRISTMILL_TEST_KEY, patience: 0}
  other: {engine: openai, url: "http://127.0.0.1:9/v1", model: m, key_env: GRISTMILL_UNUSED_KEY}
steps:
  rows: {source: constraints, rows: 3}
  answers: {generate: respond, from: rows, model: teacher, on_failure: accept}
"""


def test_a_key_that_is_not_set_is_told_before_a_step_runs(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRISTMILL_TEST_KEY", raising=False)
    file.write_text(KEYED)
    for command in ("plan", "run", "preview"):
        assert main([command, str(file)]) == 2
        said = capsys.readouterr().err
        assert "4:78: models.teacher.key_env: the environment variable" in said
        assert "'GRISTMILL_TEST_KEY' (key_env) is not set" in said
        assert "UNUSED" not in said
    assert not list((file.parent / "runs/keyed/steps").iterdir())
    monkeypatch.setenv("GRISTMILL_TEST_KEY", "some-key-0123")
    assert main(["plan", str(file)]) == 0
    assert main(["run", str(file), "--quiet"]) == 0
    monkeypatch.delenv("GRISTMILL_TEST_KEY")
    assert main(["plan", str(file)]) == 0, "what is done needs no key"
    assert main(["run", str(file), "--quiet"]) == 0
