"""Runs of a file with a repeated block: a stopped run resumes, and more turns reuse the finished ones."""

from __future__ import annotations

from pathlib import Path

import pytest

import gristmill
from gristmill.pipelines.api import Run
from gristmill.pipelines.cli.main import main

FILE = """
gristmill: 1
name: t
vars: {turns: 2}
models: {base: {engine: synthetic, sampling: {max_tokens: 6}}}
steps:
  slots: {source: count, rows: 3}
  seeds: {render: {prompt: "Say {{ number }}."}, from: slots}
  asking:
    repeat: "${turns}"
    first: {asked: {from: seeds}}
    steps:
      asked: {generate: respond, from: previous.again, model: base}
      again: {render: {prompt: "{{ prompt }} {{ response }}"}, from: asked}
  dataset: {export: jsonl, from: again}
"""


def written(run: Run) -> dict[str, int]:
    """The time at which each part of each step was written."""
    return {str(part): part.stat().st_mtime_ns for part in run.path.glob("steps/*/part-*.parquet")}


def folder(run: Run, step: str) -> set[str]:
    return {path.name for path in (run.path / "steps").iterdir() if path.name.startswith(f"{step}-")}


def test_a_stopped_run_goes_on_and_more_turns_go_on_from_these(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(FILE)
    stopped = gristmill.run(file, tmp_path / "run", until="asked_1")
    assert folder(stopped, "asked_2") == set()
    before = written(stopped)
    whole = gristmill.run(file, tmp_path / "run")
    assert before.items() <= written(whole).items(), "what was made is not made again"
    assert list(whole) == ["slots", "seeds", "asked_1", "again_1", "asked_2", "again_2", "dataset"]
    for row in whole["again_2"].to_arrow().to_pylist():
        assert row["prompt"].startswith(f"Say {row['number']}.")
        assert row["prompt"].endswith(f" {row['response']}")
    first = {row["number"]: row["prompt"] for row in whole["again_1"].to_arrow().to_pylist()}
    second = whole["asked_2"].to_arrow().to_pylist()
    assert {row["number"]: row["prompt"] for row in second} == first, (
        "the second turn is asked what the first one made"
    )
    done = written(whole)
    more = gristmill.run(file, tmp_path / "run", overrides=["vars.turns=3"])
    assert done.items() <= written(more).items()
    assert len(more["again_3"]) == 3
    assert (
        more["asked_3"].to_arrow()["prompt"].to_pylist() == whole["again_2"].to_arrow()["prompt"].to_pylist()
    )


def test_a_plan_shows_the_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.yaml").write_text(FILE)
    assert main(["plan", "f.yaml", "--set", "vars.turns=3"]) == 0
    shown = [line.split()[0:3] for line in capsys.readouterr().out.replace("└", "").splitlines()]
    named = [words[0] for words in shown if words and words[0].startswith(("asked", "again", "dataset"))]
    assert named == ["asked_1", "again_1", "asked_2", "again_2", "asked_3", "again_3", "dataset"]
