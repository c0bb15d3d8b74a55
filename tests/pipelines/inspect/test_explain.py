from __future__ import annotations

from pathlib import Path

import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.inspect.explain import explain
from gristmill.pipelines.store.run_directory import RunDirectory

from ..conftest import build_run


def test_weights_lead_to_batches_rows_prompts_and_seeds(built_run: RunDirectory) -> None:
    found = explain(built_run, "student@1")
    plan = built_run.rounds()[0].plan["steps"]
    trained = built_run.step("unique", plan["unique"]["fingerprint"]).table(["_id"])["_id"].to_pylist()
    assert [name for batch in found.batches for name, _ in batch.rows] == trained
    seeds = set(built_run.step("seeds", plan["seeds"]["fingerprint"]).table(["_id"])["_id"].to_pylist())
    for name in trained:
        origin = found.rows[name]
        assert len(origin.seeds) == 1
        assert set(origin.seeds) <= seeds
        assert origin.prompt in origin.response
        assert origin.response.startswith("Round 1, sample")
        assert f"sample {origin.sample}:" in origin.response


def test_models_templates_and_every_step_on_the_way_are_named(built_run: RunDirectory) -> None:
    found = explain(built_run, "student")
    assert found.round == 2
    assert found.base["base"]["digest"] == "d" * 64
    assert found.base["base"]["adapter"] == "steps/student/model"
    assert [step["name"] for step in found.path] == ["seeds", "answers", "scored", "kept", "unique"]
    assert found.path[1]["content"] == {"template": "b" * 64}
    assert found.path[1]["seed"] == 17
    assert found.plan["versions"]["torch"] == "2.13.0"


def test_the_folder_of_the_adapter_names_it_too(built_run: RunDirectory) -> None:
    weights = explain(built_run, "student@1").weights
    assert explain(built_run, str(weights)).round == 1
    assert explain(built_run, str(weights.relative_to(built_run.path))).round == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("studnt", "did you mean 'student'"),
        ("student@9", "round 9 has no step"),
        ("student@x", "the number of a round"),
        ("kept", "the train steps are student"),
        ("steps", "not an adapter that this run trained: give student@1 or student@2"),
    ],
)
def test_what_is_no_weights_is_refused_with_what_would_be(
    built_run: RunDirectory, name: str, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        explain(built_run, name)


def test_weights_are_followed_through_the_rounds_before(tmp_path: Path) -> None:
    """`built_run`, with the sampler of round 2 recorded as the student of round 1, and rows of round 1."""
    run = build_run(tmp_path / "run")
    first, second = run.rounds()
    student = run.step("student", first.plan["steps"]["student"]["fingerprint"])
    second.plan["models"]["base"]["adapter"] = str(student.model)
    steps = second.plan["steps"]
    steps["unique"]["from"] = ["kept", "unique@1"]
    run.write_plan(2, second.plan)
    found = explain(run, "student")
    assert found.students == {"base": "student@1"}
    assert [(each.step, each.round) for each in found.earlier] == [("student", 1)]
    assert found.earlier[0].rows.keys() == explain(run, "student@1").rows.keys()
    assert found.earlier[0].students == {}
    told = [(step["name"], step["round"]) for step in found.path]
    assert ("unique", 1) in told
    assert ("unique", 2) in told
    assert told.index(("unique", 1)) < told.index(("kept", 2))
