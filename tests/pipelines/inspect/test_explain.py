from __future__ import annotations

import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.inspect.explain import explain
from gristmill.pipelines.store.run_directory import RunDirectory


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
