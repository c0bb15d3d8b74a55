"""A fingerprint changes if and only if something that determines the step's rows changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipelines import engines
from gristmill.pipelines.engines.embedder import EmbedderOptions
from gristmill.pipelines.plan.fingerprint import PACE_OPTIONS, canonical, fingerprint_of, vectors_of
from gristmill.pipelines.plan.nodes import Plan, PlannedModel

Planner = Callable[..., Plan]

EVERY = {
    *("tasks", "evals", "answers", "checked", "scored", "kept", "exact"),
    *("unique", "clean", "chosen", "dataset", "student", "verdict"),
}
AFTER_ANSWERS = EVERY - {"tasks", "evals"}
AFTER_EXACT = {"unique", "clean", "chosen", "dataset", "student", "verdict"}


def changed(before: Plan, after: Plan) -> set[str]:
    return {step.name for step in before.steps if after.step(step.name).fingerprint != step.fingerprint}


@pytest.mark.parametrize(
    ("override", "steps"),
    [
        # A change that affects the rows changes the step and its dependents, and nothing else.
        ("steps.answers.samples=2", AFTER_ANSWERS),
        ("steps.kept.keep=passed", {"kept", "exact", *AFTER_EXACT}),
        ("steps.unique.threshold=0.5", AFTER_EXACT),
        ("steps.dataset.format=rows", {"dataset"}),
        ("steps.student.epochs=2", {"student", "verdict"}),
        ("steps.evals.rows=21", {"evals", "clean", "chosen", "dataset", "student", "verdict"}),
        ("steps.evals.seed=6", {"evals", "clean", "chosen", "dataset", "student", "verdict"}),
        ("models.base.max_model_len=512", AFTER_ANSWERS),
        ("models.base.engine_args={a: 1}", AFTER_ANSWERS),
        ("vars.rows=41", EVERY - {"evals"}),
        # The file's seed changes random steps and their dependents, except steps with their own seed.
        ("seed=18", EVERY - {"evals"}),
        ("steps.unique.seed=99", set()),
        # Names, speed options and failure handling change no row.
        ("name=another", set()),
        ("budget.tokens=1", set()),
        ("on_failure=stop", set()),
        ("steps.answers.on_failure=stop", set()),
        ("models.base.max_num_seqs=7", set()),
        ("models.base.max_lora_rank=32", set()),
        ("loop.rounds=5", set()),
        ("metrics=[tensorboard]", set()),
        # Writing a default changes nothing.
        ("steps.answers.top_p=1.0", set()),
        ("models.base.seed=0", set()),
    ],
)
def test_a_change_reruns_what_it_decides(plan_of: Planner, text: str, override: str, steps: set[str]) -> None:
    assert changed(plan_of(text), plan_of(text, override)) == steps


def test_every_option_that_is_left_out_is_an_engines_option() -> None:
    known = {name for kind in engines.KINDS for name in engines.options_of(kind).model_fields}
    assert known | set(EmbedderOptions.model_fields) >= PACE_OPTIONS


def test_vectors_belong_to_the_weights_and_to_the_options_that_change_them() -> None:
    def named(digest: str = "a", **options: object) -> str:
        return vectors_of(PlannedModel("any", "embedder", "path", options, digest))

    assert named() == named(dtype="float32") == named(batch=9, timeout=5.0)
    assert len({named(), named("b"), named(dtype="bfloat16")}) == 3


def test_options_of_the_engine_do_not_retrain(plan_of: Planner) -> None:
    text = """
gristmill: 1
name: t
models: {base: {path: m}}
steps:
  rows: {source: constraints, rows: 3}
  student: {train: sft, from: rows, model: base, train_on: user}
  verdict: {evaluate: constraints, model: student, tasks: rows}
"""
    assert changed(plan_of(text), plan_of(text, "models.base.max_model_len=512")) == {"verdict"}


def test_other_weights_rerun_what_uses_them(plan_of: Planner, text: str) -> None:
    plan = plan_of(text)
    assert changed(plan, plan_of(text, digests={"smollm2-135m-instruct": "new"})) == AFTER_ANSWERS
    assert changed(plan, plan_of(text, digests={"all-minilm-l6-v2": "new"})) == AFTER_EXACT


def test_models_and_steps_are_known_by_content_not_by_name(plan_of: Planner, text: str) -> None:
    renamed = text.replace("base", "teacher_model").replace("checked", "verified")
    plan, other = plan_of(text), plan_of(renamed)
    assert plan.step("scored").fingerprint == other.step("scored").fingerprint
    assert plan.step("verdict").fingerprint == other.step("verdict").fingerprint


def test_one_template_reruns_its_step_and_what_follows(plan_of: Planner, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.jinja").write_text("Write about {{ prompt }}.")
    text = f"""
gristmill: 1
name: t
models: {{base: {{path: m}}}}
steps:
  rows: {{source: constraints, rows: 3}}
  a: {{generate: template, from: rows, model: base, template: {tmp_path}/one.jinja}}
  b: {{generate: template, from: rows, model: base, template: {tmp_path}/two.jinja}}
  of_a: {{dedup: exact, from: a}}
  of_b: {{dedup: exact, from: b}}
"""
    before = plan_of(text)
    (tmp_path / "one.jinja").write_text("Tell me about {{ prompt }}.")
    assert changed(before, plan_of(text)) == {"a", "of_a"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_the_order_of_keys_does_not_matter_and_nothing_else_is_lost(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert fingerprint_of(turned) == fingerprint_of(value)
    assert canonical(json.loads(canonical(value))) == canonical(value)
    assert fingerprint_of({**value, "extra": 1}) != fingerprint_of({**value, "extra": 2})
