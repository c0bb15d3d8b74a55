from __future__ import annotations

from pathlib import Path

import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import load, loads

FILE = Path(__file__).parents[2] / "data" / "pipeline.yaml"


def test_values_are_yaml_and_variables_are_put_in_after() -> None:
    spec = load(
        FILE, ["steps.answers.samples=2", "vars.rows=7", "budget.time=2h", "steps.scored.score=[length]"]
    )
    assert spec.steps["answers"].params["samples"] == 2
    assert spec.steps["tasks"].params["rows"] == 7
    assert spec.budget.time == 7200
    assert spec.steps["scored"].params["score"] == ["length"]


def test_what_a_file_leaves_out_can_be_set() -> None:
    text = "gristmill: 1\nname: a\nsteps: {s: {source: constraints, rows: 3}}"
    spec = loads(text, overrides=["budget.tokens=5", "seed=3", "steps.s.split=eval", "steps.s.seed=1"])
    assert (spec.budget.tokens, spec.seed, spec.steps["s"].seed) == (5, 3, 1)
    assert spec.steps["s"].params["split"] == "eval"


def test_list_items_are_counted_from_zero() -> None:
    assert load(FILE, ["steps.scored.score.1=length"]).steps["scored"].params["score"][1] == "length"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("steps.answrs.samples=2", "steps.answrs: found 'answrs'; did you mean 'answers'?"),
        (
            "steps.answers.sampels=2",
            "steps.answers.sampels: unknown key: found 'sampels'; did you mean 'samples'?",
        ),
        ("steps.answers.samples=two", "steps.answers.samples: expected a whole number; found 'two'"),
        ("vars.row=1", "vars.row: found 'row'; did you mean 'rows'?"),
        ("budgt.tokens=1", "budgt: found 'budgt'; did you mean 'budget'?"),
        ("steps.scored.score.9=x", "steps.scored.score: a list of 2: found '9'; count from 0"),
        ("seed.x=1", "seed: holds a plain value"),
        ("steps.answers.samples", "should be path=value"),
        ("seed=[1", "is not valid YAML"),
        ("models.base.path=", "models.base.path: expected text; found nothing"),
    ],
)
def test_mistakes_point_at_the_option(setting: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        load(FILE, [setting])
    assert said in str(refused.value)
    assert all(problem.file == f"--set {setting}" for problem in refused.value.problems)
