"""If a remade part differs, the parts that depend on it are made again too, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gristmill

from .event_log import Log

PIPELINE = """
gristmill: 1
name: origins
models:
  teacher: {{engine: openai, url: "{url}", model: any, max_num_seqs: 64}}
steps:
  prompts: {{source: jsonl, path: "{folder}/prompts.jsonl"}}
  answers: {{generate: respond, from: prompts, model: teacher, max_tokens: 8}}
  scored:  {{score: length, from: answers}}
  again:
    {{generate: template, template: "{{{{ response }}}}", parser: {{kind: text}}, from: scored,
      model: teacher, max_tokens: 8}}
  chosen:  {{select: random, rows: 1000, from: again}}
  dataset: {{export: jsonl, from: chosen, columns: [prompt, response]}}
"""


@pytest.fixture
def pipeline(tmp_path: Path, teach: Callable[..., Any]) -> tuple[Path, Any]:
    """A file whose teacher never repeats an answer, and the teacher."""
    count = iter(range(10_000))
    teacher = teach(lambda prompt, seed: f"answer {next(count)} to: {prompt}")
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"question {number}"}) + "\n" for number in range(48))
    )
    file = tmp_path / "origins.yaml"
    file.write_text(PIPELINE.format(url=teacher.url, folder=tmp_path))
    return file, teacher


def part(run: gristmill.Run, step: str, number: int) -> Path:
    return sorted(run[step].store.path.glob("part-*"))[number]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 0xFF
    path.write_bytes(data)


def check_lineage(run: gristmill.Run) -> None:
    """Every row derives from existing rows: a second answer quotes the first answer of its parent."""
    first = {row["_id"]: row["response"] for row in run["answers"].to_arrow().to_pylist()}
    second = run["again"].to_arrow().to_pylist()
    assert len(second) == 48
    for row in second:
        assert row["response"].endswith(f"to: {first[row['_parents'][0]]}")
    exported = [
        json.loads(line) for line in (run.path / "exports/dataset/data.jsonl").read_text().splitlines()
    ]
    assert {row["response"] for row in exported} == {row["response"] for row in second}


def test_a_damaged_part_costs_its_micro_batch_and_what_was_made_from_it(
    tmp_path: Path, pipeline: tuple[Path, Any]
) -> None:
    file, teacher = pipeline
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    assert len(teacher.prompts) == 96
    kept = {
        path: path.read_bytes()
        for step in ("answers", "again")
        for path in run[step].store.path.glob("part-*")
    }
    flip(part(run, "answers", 1))
    log = Log()
    run = gristmill.run(file, tmp_path / "run", observer=log)
    check_lineage(run)
    assert len(teacher.prompts) == 96 + 32, "one micro-batch of each of both steps"
    same = [path for path, data in kept.items() if path.exists() and path.read_bytes() == data]
    assert len(same) == len(kept) - 2
    assert log.made == ["answers", "scored", "again", "chosen", "dataset"]
    log = Log()
    gristmill.run(file, tmp_path / "run", observer=log)
    assert log.made == log.notices == []


def test_a_kill_between_a_part_that_was_made_again_and_what_follows_changes_nothing(
    tmp_path: Path, pipeline: tuple[Path, Any]
) -> None:
    file, teacher = pipeline
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    part(run, "answers", 2).unlink()
    # As after a kill: the part exists again, and so do the parts made from its previous version.
    gristmill.run(file, tmp_path / "run", until="answers", observer=Log())
    log = Log()
    run = gristmill.run(file, tmp_path / "run", observer=log)
    check_lineage(run)
    assert len(teacher.prompts) == 96 + 32
    assert any(text.startswith("step scored: its input came out differently") for text in log.notices)


def test_damage_in_an_unfinished_run_is_followed_too(tmp_path: Path, pipeline: tuple[Path, Any]) -> None:
    file, teacher = pipeline
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    for step in ("answers", "scored", "again"):  # a run that was stopped has no manifests
        (run[step].store.path / "manifest.json").unlink()
    flip(part(run, "answers", 0))
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    check_lineage(run)
    assert len(teacher.prompts) == 96 + 32


def test_damage_in_the_middle_of_a_chain_pays_for_nothing_above_it(
    tmp_path: Path, pipeline: tuple[Path, Any]
) -> None:
    file, teacher = pipeline
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    flip(part(run, "scored", 1))
    log = Log()
    gristmill.run(file, tmp_path / "run", observer=log)
    assert len(teacher.prompts) == 96
    assert log.made == ["scored"], "its rows came out as before: what follows is right"


def test_two_damages_of_one_micro_batch_do_not_cost_what_lies_between(
    tmp_path: Path, pipeline: tuple[Path, Any]
) -> None:
    file, teacher = pipeline
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    flip(part(run, "scored", 1))
    (tmp_path / "run/exports/dataset/data.jsonl").unlink()
    (run["again"].store.path / "manifest.json").write_text("[]")
    (run["chosen"].store.path / "manifest.json").unlink()
    log = Log()
    run = gristmill.run(file, tmp_path / "run", observer=log)
    check_lineage(run)
    assert len(teacher.prompts) == 96
    assert log.made == ["scored", "again", "chosen", "dataset"]


def test_a_micro_batch_that_fails_and_is_retried_takes_what_follows_with_it(
    tmp_path: Path, pipeline: tuple[Path, Any]
) -> None:
    file, _ = pipeline
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    before = part(run, "again", 0).read_bytes()
    store = run["answers"].store
    store.drop(store.parts()[0])  # as --retry-failed does
    run = gristmill.run(file, tmp_path / "run", observer=Log())
    check_lineage(run)
    assert part(run, "again", 0).read_bytes() != before
