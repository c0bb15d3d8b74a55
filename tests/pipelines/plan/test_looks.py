"""The steps that a gate adds to a plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.plan.looks import asked, deciding, students_of
from gristmill.pipelines.plan.nodes import Carry, Plan

Planner = Callable[..., Plan]

TEXT = """
gristmill: 1
name: gated
models: {base: {engine: transformers, path: small}}
steps:
  prompts: {source: constraints, rows: 9}
  evals:   {source: constraints, split: eval, rows: 9, seed: 1}
  others:  {source: constraints, split: eval, rows: 9, seed: 2}
  rows:    {compute: {response: "'yes'"}, from: prompts}
  student: {train: sft, from: rows, model: base, adapter: {kind: lora, rank: 2}}
  verdict: {evaluate: constraints, tasks: evals, model: student, against: base}
  whole:   {evaluate: constraints, tasks: evals, model: student, against: base, max_tokens: 9}
  suite:   {evaluate: constraints, tasks: others, model: student, against: base}
loop: {rounds: 2, promote: {student: base}, gate: GATE}
"""
THREE = "{promote: verdict, transfer: whole, retain: {suite: 0.05}, looks: 3}"


def named(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps]


def test_every_look_has_a_step_for_each_yardstick_and_for_its_items(plan_of: Planner) -> None:
    plan = plan_of(TEXT.replace("GATE", THREE))
    assert {
        f"{name}_{look}of3" for name in ("verdict", "whole", "suite", "evals", "others") for look in (1, 2, 3)
    } == {name for name in named(plan) if name.endswith("of3")}
    assert not {"verdict", "whole", "suite"} & set(named(plan))
    first, second = plan.step("verdict_1of3"), plan.step("verdict_2of3")
    assert (first.inputs, second.inputs) == (("evals_1of3",), ("evals_2of3",))
    assert first.models == second.models == {"student": "train", "base": "model"}
    # One step of items serves the yardsticks on the same tasks.
    assert plan.step("whole_1of3").inputs == ("evals_1of3",)
    assert len({step.fingerprint for step in plan.steps}) == len(plan.steps)


def test_only_the_steps_of_the_looks_so_far_are_run(plan_of: Planner) -> None:
    plan = plan_of(TEXT.replace("GATE", THREE))
    part = asked(plan, {"verdict_1of3", "suite_1of3", "suite_2of3"})
    assert deciding(part) == ["verdict_1of3", "suite_1of3", "suite_2of3"]
    assert [name for name in named(part) if "of3" in name and name not in deciding(part)] == [
        "evals_1of3", "others_1of3", "others_2of3",
    ]  # fmt: skip
    assert {"prompts", "evals", "others", "student"} <= set(named(part))


def test_a_yardstick_is_also_compared_with_the_model_of_round_0(plan_of: Planner, tmp_path: Path) -> None:
    text = TEXT.replace("GATE", "{promote: verdict}")
    first = plan_of(text)
    assert first.step("verdict").operator.start == "base"
    assert first.step("suite").operator.start is None
    carry = {"base": Carry(tmp_path / "model", "f" * 64, "student")}
    later = plan_of(text, round=2, carry=carry)
    assert later.step("verdict").operator.start == "base@0"
    assert later.step("verdict").models == {"student": "train", "base": "model", "base@0": "model"}
    before, now = later.models["base@0"], later.models["base"]
    assert (before.adapter, now.adapter) == (None, tmp_path / "model")
    assert before.digest == first.models["base"].digest != now.digest


def test_a_student_can_start_from_the_model_of_round_0(plan_of: Planner, tmp_path: Path) -> None:
    """As ReST-EM asks for: the student of every round is trained from the base."""
    text = TEXT.replace("GATE", "{promote: verdict}").replace(
        "from: rows, model: base,", "from: rows, seed: 3, model: base@0,"
    )
    text = text.replace("rows: 9}", "rows: 9, seed: 4}")
    carry = {"base": Carry(tmp_path / "model", "f" * 64, "student")}
    first, later = plan_of(text), plan_of(text, round=2, carry=carry)
    assert first.step("student").fingerprint == later.step("student").fingerprint
    assert later.step("student").operator.model == "base@0"


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("{promote: verdct}", "loop.gate.promote: unknown step: found 'verdct'; did you mean 'verdict'?"),
        ("{promote: evals}", "'evals' is no evaluation; `evaluate` steps are: suite, verdict, whole"),
        ("{promote: [verdict, verdct]}", "loop.gate.promote[1]: unknown step: found 'verdct'"),
        ("{promote: verdict, retain: {sute: 0.1}}", "loop.gate.retain.sute: unknown step: found 'sute'"),
        ("{promote: verdict, retain: {suite: 0}}", "loop.gate.retain.suite: must be greater than 0; found 0"),
        ("{promote: verdict, transfer: [verdict]}", "'verdict' has two roles"),
        ("{promote: []}", "loop.gate.promote"),
        ("{promote: verdict, looks: 11}", "loop.gate.looks: must be at most 10; found 11"),
        ("{promote: verdict, alpha: 0.5}", "loop.gate.alpha: must be less than 0.5; found 0.5"),
        ("{promote: verdict}, when: 'verdict.n > 0'", "`when` and `gate` both decide on a promotion"),
    ],
)
def test_a_gate_that_cannot_decide_is_refused(plan_of: Planner, gate: str, told: str) -> None:
    with pytest.raises(SpecError) as error:
        plan_of(TEXT.replace("GATE", gate))
    assert told in str(error.value)


def test_a_yardstick_compares_two_models(plan_of: Planner) -> None:
    with pytest.raises(SpecError, match="'verdict' compares with no model: give it `against`"):
        plan_of(
            TEXT.replace("GATE", "{promote: verdict}").replace(
                "model: student, against: base}", "model: student}", 1
            )
        )


def test_rows_that_come_in_parts_cannot_be_read_by_another_step(plan_of: Planner) -> None:
    more = "  again: {dedup: exact, from: verdict}\n  evals_1of3: {dedup: exact, from: evals}\nloop:"
    with pytest.raises(SpecError) as error:
        plan_of(TEXT.replace("GATE", THREE).replace("loop:", more))
    assert "its rows come in 3 parts (`loop.gate.looks`), so 'again' cannot read them" in str(error.value)
    assert "`loop.gate.looks` makes a step 'evals_1of3': rename this one" in str(error.value)
    assert plan_of(TEXT.replace("GATE", "{promote: verdict}").replace("loop:", more)).step("again")


def test_a_list_that_names_rows_in_parts_is_refused(plan_of: Planner) -> None:
    more = "  shown: {decontaminate: [evals, verdict], from: rows}\nloop:"
    text = TEXT.replace("loop:", more)
    with pytest.raises(SpecError, match="so 'shown' cannot read them"):
        plan_of(text.replace("GATE", THREE))
    assert plan_of(text.replace("GATE", "{promote: verdict}")).step("shown")


def test_seeds_need_yardsticks_that_evaluate_a_promoted_student(plan_of: Planner) -> None:
    """Any other has one student, whose noise of training would not be in its interval."""
    text = TEXT.replace("loop:", "  other: {train: sft, from: prompts, model: base}\nloop:")
    text = text.replace("tasks: others, model: student", "tasks: others, model: other")
    told = "retain.suite: `seeds` judges the students of `promote` (student); 'suite' evaluates 'other'"
    with pytest.raises(SpecError) as error:
        plan_of(text.replace("GATE", "{promote: verdict, retain: {suite: 0.05}, seeds: 2}"))
    assert told in str(error.value)
    with_one = "{promote: verdict, retain: {suite: 0.05}}"
    assert told not in problems(plan_of, text.replace("GATE", with_one))


def problems(plan_of: Planner, text: str) -> str:
    try:
        plan_of(text)
    except SpecError as error:
        return str(error)
    return ""


def test_a_figure_that_comes_in_parts_cannot_be_watched(plan_of: Planner) -> None:
    text = TEXT.replace("gate: GATE", "gate: GATE, watch: {NAME.model.strict: {falls: 0.2}}")
    told = problems(plan_of, text.replace("GATE", THREE).replace("NAME", "suite"))
    assert "loop.watch.suite.model.strict: 'suite' comes in 3 parts (`loop.gate.looks`)" in told
    one = text.replace("GATE", "{promote: verdict, retain: {suite: 0.05}}")
    assert problems(plan_of, one.replace("NAME", "suite")) == ""
    two = text.replace("GATE", "{promote: verdict, looks: 3}")
    assert problems(plan_of, two.replace("NAME", "suite")) == ""


def test_several_seeds_train_several_students_and_evaluate_each(plan_of: Planner) -> None:
    plan = plan_of(TEXT.replace("GATE", "{promote: verdict, retain: {suite: 0.05}, seeds: 3, looks: 2}"))
    students = [plan.step(name) for name in ("student", "student_seed2", "student_seed3")]
    assert len({each.seed for each in students}) == len({each.fingerprint for each in students}) == 3
    assert {each.inputs for each in students} == {("rows",)}
    assert plan.step("verdict_seed2_1of2").models == {"student_seed2": "train"}
    assert plan.step("verdict_seed2_1of2").inputs == plan.step("verdict_1of2").inputs == ("evals_1of2",)
    assert students_of(plan, "verdict_1of2") == ["verdict_seed2_1of2", "verdict_seed3_1of2"]
    part = asked(plan, {"verdict_1of2"})
    assert deciding(part) == ["verdict_1of2", "verdict_seed2_1of2", "verdict_seed3_1of2"]
    # A training with a seed of its own is repeated with others.
    text = TEXT.replace("GATE", "{promote: verdict, seeds: 2}").replace(
        "from: rows, model: base,", "from: rows, seed: 7, model: base,"
    )
    assert [plan_of(text).step(name).seed for name in ("student", "student_seed2")] == [7, 8]
    with pytest.raises(SpecError, match=r"`loop\.gate\.seeds` makes a step 'student_seed2': rename this one"):
        plan_of(text.replace("loop:", "  student_seed2: {dedup: exact, from: rows}\nloop:"))
