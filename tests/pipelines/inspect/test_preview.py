"""Previews of real pipeline files with the synthetic engine, which needs no weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.inspect.preview import preview

FILE = """
gristmill: 1
name: tiny
seed: 17
budget: {tokens: 1}
models:
  base: {path: smollm2-135m-instruct}
steps:
  tasks: {source: jsonl, path: TASKS}
  unused: {source: constraints, rows: 1_000_000, split: eval}
  answers: {generate: respond, from: tasks, model: base, samples: 2, max_tokens: 20}
  long: {keep: "length(response) > 1000000", from: answers}
  dataset: {export: jsonl, from: long, path: OUT}
  student: {train: sft, from: long, model: base}
  again: {generate: respond, from: tasks, model: student}
  verdict: {evaluate: constraints, model: student, against: base, tasks: unused}
loop: {rounds: 3, promote: {student: base}, when: "verdict.gain.ci_low > 0"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text("".join(json.dumps({"prompt": f"Say {number}."}) + "\n" for number in range(100)))
    path = tmp_path / "tiny.yaml"
    path.write_text(FILE.replace("TASKS", str(tasks)).replace("OUT", str(tmp_path / "out")))
    return path


def test_a_few_rows_go_through_every_step_before_training(file: Path, tmp_path: Path) -> None:
    tried = preview(file, 3, engine="synthetic")
    assert [step.step for step in tried] == ["tasks", "answers", "long"]
    tasks, answers, long = tried
    assert [row["prompt"] for row in tasks.rows] == ["Say 0.", "Say 1.", "Say 2."]
    assert len(answers.rows) == 6
    assert {parent for row in answers.rows for parent in row["_parents"]} == {
        row["_id"] for row in tasks.rows
    }
    assert "response" in answers.columns
    assert all(row["response"] for row in answers.rows)
    assert {row["_fate"] for row in long.rows} == {"filtered"}
    assert "length(response)" in long.rows[0]["_reason"]["rule"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "tasks.jsonl",
        "tiny.yaml",
    }  # nothing is left behind


def test_the_same_preview_twice_is_the_same(file: Path) -> None:
    assert preview(file, 2, engine="synthetic") == preview(file, 2, engine="synthetic")


def test_changes_from_the_command_line_count(file: Path) -> None:
    tried = preview(file, 2, engine="synthetic", overrides=["steps.answers.samples=5"])
    assert len(tried[1].rows) == 10


def test_mistakes_in_the_file_are_told_as_ever(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("gristmill: 1\nname: x\nsteps:\n  a: {generate: respnd}\n")
    with pytest.raises(SpecError, match="respond"):
        preview(broken)


def test_a_source_without_rows_makes_none_further_on(file: Path) -> None:
    (file.parent / "tasks.jsonl").write_text("")
    tried = preview(file, engine="synthetic")
    assert [step.rows for step in tried] == [(), (), ()]


def test_a_source_that_cannot_be_told_to_stop_is_cut_after_its_first_rows(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "endless.py").write_text(
        "from collections.abc import Iterator\n"
        "def tasks() -> Iterator[dict[str, str]]:\n"
        "    for number in range(5_000):\n"
        "        yield {'prompt': f'Say {number}.'}\n"
    )
    lines = file.read_text().splitlines()
    lines[8] = '  tasks: {source: "endless:tasks"}'
    file.write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    tried = preview(file, 3, engine="synthetic")
    assert [row["prompt"] for row in tried[0].rows] == ["Say 0.", "Say 1.", "Say 2."]
    assert len(tried[1].rows) == 6
