"""Rounds as data: each has a record that never changes, and a new run can begin after any of them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.contracts.errors import GristmillError
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.inspect.rounds.fork import fork
from gristmill.pipelines.store.damage import Damaged
from gristmill.pipelines.store.integrity import check
from gristmill.pipelines.store.products import Product
from gristmill.pipelines.store.round_records import keep, read, records
from gristmill.pipelines.store.run_directory import RunDirectory

from .event_log import Log

FILE = """
gristmill: 1
name: recorded
seed: 5
models:
  base:    {{engine: transformers, path: "{model}", dtype: float32}}
  sampler: {{engine: transformers, path: "{model}", dtype: float32}}
steps:
  tasks:   {{source: jsonl, path: "{folder}/tasks.jsonl"}}
  lessons: {{source: jsonl, path: "{folder}/lessons.jsonl"}}
  said:    {{generate: respond, from: tasks, model: sampler, temperature: 0, max_tokens: {most}}}
  student: {{train: sft, from: lessons, model: base, epochs: 4, learning_rate: 0.02, batch_rows: 4,
             adapter: {{kind: lora, rank: 2}}, dtype: fp32}}
  evals:   {{source: jsonl, path: "{folder}/evals.jsonl"}}
  verdict: {{evaluate: likelihood, tasks: evals, model: student, against: base}}
loop: {{rounds: {rounds}, promote: {{student: sampler}}, when: "verdict.n > 0"}}
"""


def run(folder: Path, model: Path, into: Path, rounds: int = 2, most: int = 4) -> tuple[gristmill.Run, Log]:
    for name, rows in {
        "tasks": [{"prompt": f"What is {n}?"} for n in range(3)],
        "evals": [{"prompt": f"Count to {n}.", "response": "no " * n} for n in range(1, 3)],
        "lessons": [{"prompt": f"Say yes {n} times.", "response": "yes " * n} for n in range(1, 5)],
    }.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    file, log = folder / "recorded.yaml", Log()
    file.write_text(FILE.format(model=model, folder=folder, rounds=rounds, most=most))
    return gristmill.run(file, into, observer=log), log


@pytest.mark.engine
def test_a_fork_begins_after_a_round_and_pays_for_nothing_again(
    tmp_path: Path, make_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(max_position_embeddings=1024)
    made, _ = run(tmp_path, model, tmp_path / "run")
    first, second = records(tmp_path / "run")
    assert (first["round"], first["parent"]) == (1, None)
    assert (second["round"], second["parent"]) == (2, first["record"])
    assert [each["verdict"]["decision"] for each in (first, second)] == ["promoted"] * 2
    assert first["steps"]["said"]["rows"]["kept"] == 3
    assert first["budget"]["completion_tokens"] > 0
    assert [each["record"] for each in made.results] == [first["record"], second["record"]]

    # The new run goes on with another file: round 2 alone, whose sampler is the student of round 1.
    assert (
        main(["loop", "fork", str(made.directory.path), "--round", "1", "--into", str(tmp_path / "new")]) == 0
    )
    other, log = run(tmp_path, model, tmp_path / "new", most=6)
    assert [each.round for each in log.rounds] == [2]
    assert set(log.made) == {"said", "student", "verdict"}, "sources are reused"
    rounds = other.directory.rounds()
    assert [each.number for each in rounds] == [1, 2]
    student = other.directory.step("student", rounds[0].plan["steps"]["student"]["fingerprint"])
    assert rounds[1].plan["models"]["sampler"]["adapter"] == str(student.model)
    assert student.path.parent.parent == tmp_path / "new", "the weights are its own"
    assert rounds[1].plan["models"]["base"]["adapter"] is None
    third = read(tmp_path / "new", str(other.results[1]["record"]))
    assert third["parent"] == first["record"]
    assert third["record"] != second["record"]

    # With the same file it comes to the same record.
    fork(made.directory, 1, tmp_path / "same")
    same, _ = run(tmp_path, model, tmp_path / "same")
    assert same.results[1]["record"] == second["record"]
    capsys.readouterr()
    assert main(["loop", "show", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert first["record"] in out
    assert "student -> sampler" in out
    assert re.search(r"verdict\s+[+-]\d", out)
    assert main(["loop", "compare", str(tmp_path / "run"), "2", str(tmp_path / "new")]) == 0
    assert "max_tokens changed: 4 -> 6" in capsys.readouterr().out
    with pytest.raises(GristmillError, match=r"raise `loop\.rounds` above 1"):
        run(tmp_path, model, tmp_path / "new", rounds=1)

    # A record that was changed is found, and nothing else is foreign.
    assert list(check(other.directory)) == []
    changed = tmp_path / "run/records" / f"{first['record']}.json"
    changed.write_text(changed.read_text().replace('"promoted"', '"kept"'))
    found = [(each.path, each.remedy) for each in check(made.directory)]
    assert found == [(changed, "the next run writes it again")]


def record(**changes: Any) -> dict[str, Any]:
    return {
        "round": 1, "parent": None, "steps": {"a": {"fingerprint": "f"}}, "models": {}, "carry": {},
        "verdict": {"decision": "kept"}, "budget": {"seconds": 1.0}, **changes,
    }  # fmt: skip


def test_a_record_is_written_once_and_another_round_has_another(tmp_path: Path) -> None:
    name = keep(tmp_path, record())
    before = (tmp_path / "records" / f"{name}.json").read_bytes()
    assert keep(tmp_path, record(budget={"seconds": 99.0})) == name, "what it cost is not what it is"
    assert (tmp_path / "records" / f"{name}.json").read_bytes() == before
    others = [
        record(steps={"a": {"fingerprint": "g"}}),
        # As after `--retry-failed`.
        record(steps={"a": {"fingerprint": "f", "rows": {"kept": 4, "failed": 0}}}),
        record(parent=name),
        record(verdict={"decision": "promoted"}),
        record(carry={"base": {"digest": "d"}}),
    ]
    assert len({name, *(keep(tmp_path, other) for other in others)}) == 6
    assert len(records(tmp_path)) == 6


def test_a_changed_record_is_told_and_made_again(tmp_path: Path) -> None:
    name = keep(tmp_path, record())
    path = tmp_path / "records" / f"{name}.json"
    path.write_text(path.read_text().replace("kept", "held"))
    with pytest.raises(Damaged):
        read(tmp_path, name)
    assert keep(tmp_path, record()) == name
    assert read(tmp_path, name)["verdict"]["decision"] == "kept"


def recorded(built: RunDirectory, path: Path) -> RunDirectory:
    """A copy of a run, with a record of each round."""
    shutil.copytree(built.path, path)
    made, parent = RunDirectory.open(path), None
    for each in made.rounds():
        stores = {store.name: store for store in made.planned_rounds()[each.number]}
        steps = {
            name: {
                "fingerprint": step["fingerprint"],
                "parts": {part["file"]: part["digest"] for part in stores[name].manifest["parts"]},
            }
            for name, step in each.plan["steps"].items()
        }
        assert each.result is not None
        parent = keep(path, record(round=each.number, parent=parent, steps=steps))
        made.write_result(each.number, {**each.result, "record": parent})
    return made


def test_a_round_that_was_planned_again_cannot_be_forked(built_run: RunDirectory, tmp_path: Path) -> None:
    made = recorded(built_run, tmp_path / "run")
    fork(made, 2, tmp_path / "new")
    plan = made.rounds()[0].plan
    # As `run --until` leaves it.
    made.write_plan(1, {**plan, "steps": dict(list(plan["steps"].items())[:1])})
    with pytest.raises(GristmillError, match=r"round 1 of .* was planned again .* run it to its end first"):
        fork(made, 2, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_fork_has_nothing_of_the_rounds_after_it(built_run: RunDirectory, tmp_path: Path) -> None:
    made = recorded(built_run, tmp_path / "run")
    place = made.exports("dataset") / "rows.jsonl"
    for number, stores in made.planned_rounds().items():
        store = next(each for each in stores if each.name == "unique")
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"of round {number}")
        exported = [Product.of(place, made.path)]
        store.finish(operator="export", one_to_one=False, seconds=1.0, summary={}, products=exported)
    made.write_seconds(999.0, "failed", "no disk")
    assert list(check(made)) == []
    fork(made, 1, tmp_path / "first")
    first = RunDirectory.open(tmp_path / "first")
    assert [each["round"] for each in records(first.path)] == [1]
    assert not (first.path / "exports/dataset").exists(), "round 2 has replaced it"
    assert list(check(first)) == []
    seconds = sum(store.manifest["seconds"] for store in made.planned_rounds()[1])
    assert (first.seconds(), first.ended()) == (seconds, ("", ""))
    fork(made, 2, tmp_path / "second")
    second = RunDirectory.open(tmp_path / "second")
    assert [each["round"] for each in records(second.path)] == [1, 2]
    assert (second.path / "exports/dataset/rows.jsonl").read_text() == "of round 2"
    assert list(check(second)) == []
    (second.path / "exports/dataset/rows.jsonl").write_text("of nobody")
    assert [each.path.name for each in check(second)] == ["rows.jsonl"]


def test_what_was_copied_is_not_made_again(built_run: RunDirectory, tmp_path: Path) -> None:
    made = recorded(built_run, tmp_path / "run")
    fork(made, 1, tmp_path / "new")
    new = RunDirectory.open(tmp_path / "new")
    before = {each.path for each in check(new)}
    [name, *_] = [each["record"] for each in records(new.path)]
    unique = next(store for store in new.planned_rounds()[1] if store.name == "unique")
    damaged = [new.path / "rounds/1/result.json", new.path / f"records/{name}.json", unique.files()[0]]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-9] + b"damaged!!")
    found = {each.path: each for each in check(new) if each.path not in before}
    assert set(found) == set(damaged)
    assert {each.remedy.partition(": ")[2] for each in found.values()} == {f"fork again from {made.path}"}
    assert not any(each.can_be_moved for each in found.values())
    assert new.mend() == []
    # What the run has made itself is made again.
    new.write_spec("damaged")
    (new.path / "clock.json").write_text("damaged")
    assert [each.can_be_moved for each in check(new) if each.path.name == "clock.json"] == [True]
    assert len(new.mend()) == 1


def test_what_cannot_be_forked_or_compared_is_told(built_run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(GristmillError, match="no round 7; its rounds are: 1, 2"):
        fork(built_run, 7, tmp_path / "new")
    with pytest.raises(GristmillError, match="has no record: it was run by an earlier version"):
        fork(built_run, 1, tmp_path / "new")
    with pytest.raises(GristmillError, match="exists"):
        fork(built_run, 1, tmp_path)
    assert not (tmp_path / "new").exists()
    assert main(["loop", "compare", str(built_run.path), "1", "9"]) == 1
    assert main(["loop", "compare", str(built_run.path), "1", "2"]) == 0
