"""The students of a gate with several seeds: each has every training of its own, and what depends on one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.plan.nodes import Plan

Planner = Callable[..., Plan]

TEXT = """
gristmill: 1
name: gated
models:
  base: {engine: transformers, path: small}
MODELS
steps:
  prompts: {source: constraints, rows: 9}
  evals:   {source: constraints, split: eval, rows: 9, seed: 1}
  rows:    {compute: {response: "'yes'"}, from: prompts}
STEPS
  verdict: {evaluate: constraints, tasks: evals, model: student, against: base}
loop: {rounds: 2, promote: {student: base}, gate: {promote: verdict, seeds: 3}}
"""
LORA = "adapter: {kind: lora, rank: 2}"


def file(*steps: str, models: str = "") -> str:
    made = "\n".join(f"  {step}" for step in steps)
    return TEXT.replace("STEPS", made).replace("MODELS", models).replace("LORA", LORA)


def further(plan: Plan) -> set[str]:
    names = {step.name.removesuffix("_seed2") for step in plan.steps if step.name.endswith("_seed2")}
    assert names == {s.name.removesuffix("_seed3") for s in plan.steps if s.name.endswith("_seed3")}
    return names - {"verdict"}


def test_every_turn_of_a_student_is_trained_again(plan_of: Planner) -> None:
    """Of its own answers: only what no training had a part in is shared."""
    plan = plan_of(
        file(
            "learning:",
            "  repeat: 3",
            "  first: {answers: {model: base}, student: {model: base}}",
            "  steps:",
            "    drawn:   {source: constraints, rows: 4}",
            "    answers: {generate: respond, from: drawn, model: previous.student}",
            "    checked: {verify: constraints, from: answers}",
            "    student: {train: sft, from: checked, model: previous.student, LORA}",
        )
    )
    students = {f"student_{turn}" for turn in (1, 2, 3)}
    assert further(plan) == {*students, "answers_2", "checked_2", "answers_3", "checked_3"}
    assert plan.step("student_1_seed2").inputs == ("checked_1",)
    assert plan.step("student_1_seed2").models == {"base": "model"}
    assert plan.step("answers_2_seed2").inputs == ("drawn_2",)
    assert plan.step("answers_2_seed2").models == {"student_1_seed2": "train"}
    assert plan.step("student_3_seed3").inputs == ("checked_3_seed3",)
    assert plan.step("student_3_seed3").models == {"student_2_seed3": "train"}
    assert plan.step("verdict_seed3").models == {"student_3_seed3": "train"}
    assert len({each.fingerprint for each in plan.steps}) == len(plan.steps)


def test_both_stages_of_a_student_are_trained_again(plan_of: Planner) -> None:
    """Also of one that is merged; a training on which it does not rest is made once."""
    plan = plan_of(
        file(
            "first:   {train: sft, from: rows, model: base, seed: 7, LORA}",
            "again:   {train: sft, from: rows, model: first, LORA}",
            "student: {merge: soup, model: base, students: [first, again]}",
            "other:   {train: sft, from: rows, model: first, LORA}",
        )
    )
    assert further(plan) == {"first", "again", "student"}
    assert [plan.step(f"first{end}").seed for end in ("", "_seed2", "_seed3")] == [7, 8, 9]
    assert plan.step("again_seed2").models == {"first_seed2": "train"}
    assert plan.step("again_seed2").inputs == ("rows",)
    assert plan.step("student_seed2").operator.students == ("first_seed2", "again_seed2")
    assert plan.step("student_seed2").operator.model == "base"


def test_a_combined_model_of_a_student_is_combined_again(plan_of: Planner) -> None:
    plan = plan_of(
        file(
            "tuned:   {train: sft, from: rows, model: base, LORA}",
            "said:    {generate: respond, from: prompts, model: moved}",
            "student: {train: sft, from: said, model: base, LORA}",
            models="  moved: {engine: combined, base: base, plus: tuned, minus: base}",
        )
    )
    assert further(plan) == {"tuned", "said", "student"}
    assert plan.step("said_seed2").models == {"moved_seed2": "model"}
    assert plan.models["moved_seed2"].members == {
        "base": ("base",),
        "plus": ("tuned_seed2",),
        "minus": ("base",),
    }
    assert plan.models["moved_seed2"].digest != plan.models["moved"].digest


def test_a_step_with_the_name_of_a_further_one_is_refused(plan_of: Planner) -> None:
    steps = (
        "first:   {train: sft, from: rows, model: base, LORA}",
        "student: {train: sft, from: rows, model: first, LORA}",
        "first_seed3: {dedup: exact, from: rows}",
    )
    with pytest.raises(SpecError) as error:
        plan_of(file(*steps))
    assert "`loop.gate.seeds` makes a step 'first_seed3': rename this one" in str(error.value)
    assert len(error.value.problems) == 1
    assert plan_of(file(*steps).replace("seeds: 3", "seeds: 2"))
