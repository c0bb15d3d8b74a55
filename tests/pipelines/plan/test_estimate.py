from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from gristmill.contracts.inference import Usage
from gristmill.pipelines.plan.embedding import START
from gristmill.pipelines.plan.estimate import ENGINE_BYTES, ENGINE_SPEED, StepCost, estimate, measured
from gristmill.pipelines.plan.nodes import Plan
from gristmill.pipelines.plan.record import as_record
from gristmill.pipelines.plan.show import count, duration, memory, show, tree
from gristmill.pipelines.run.outcomes import from_source
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.store.tables import write_sealed
from gristmill.pipelines.weights import PACKAGED

Planner = Callable[..., Plan]


def commit(
    run: RunDirectory, plan: Plan, name: str, start: int, rows: int, usage: Usage | None = None
) -> None:
    """One part of a step, as a run would write it."""
    step = plan.step(name)
    made = pa.table({"prompt": [f"{name} {number}" for number in range(start, start + rows)]})
    table = from_source(made, step.fingerprint, start)
    store = run.begin_step(name, step.fingerprint)
    store.commit(table, start=start, stop=start + rows, basis="b", rows_in=rows, usage=usage or Usage())


def finish(run: RunDirectory, plan: Plan, name: str, seconds: float = 1.0) -> None:
    step = plan.step(name)
    store = run.step(name, step.fingerprint)
    store.finish(operator=step.label, one_to_one=False, seconds=seconds, summary={})


def by_name(costs: list[StepCost]) -> dict[str, StepCost]:
    return {cost.step.name: cost for cost in costs}


def test_rows_and_tokens_follow_the_file(plan_of: Planner, text: str) -> None:
    costs = by_name(estimate(plan_of(text), None))
    assert all(cost.state == "to run" for cost in costs.values())
    assert (costs["tasks"].rows, costs["answers"].rows, costs["chosen"].rows) == (40, 160, 16)
    assert costs["checked"].tokens == 0
    twice = by_name(estimate(plan_of(text, "steps.answers.samples=8"), None))
    assert twice["answers"].rows == 320
    assert costs["answers"].tokens < twice["answers"].tokens
    assert costs["answers"].seconds > costs["checked"].seconds
    assert costs["answers"].memory > costs["checked"].memory  # type: ignore[operator]


RESIDENT = """
gristmill: 1
name: t
models: {base: {path: smollm2-135m-instruct, resident: true}}
steps:
  tasks:   {source: constraints, rows: 8}
  answers: {generate: respond, from: tasks, model: base}
  checked: {verify: constraints, from: answers}
  student: {train: sft, from: checked, model: base}
  verdict: {evaluate: constraints, tasks: tasks, model: student, against: base}
  after:   {verify: constraints, from: checked}
"""


def test_a_resident_engine_counts_between_the_steps_that_ask_it(plan_of: Planner) -> None:
    """It is started by `answers`, and goes on until `verdict`."""
    resident, closed = (
        by_name(estimate(plan_of(RESIDENT, f"models.base.resident={value}"), None))
        for value in ("true", "false")
    )
    engine = ENGINE_BYTES["vllm"] + PACKAGED["smollm2-135m-instruct"].stored_bytes
    more = {name: (resident[name].memory or 0) - (closed[name].memory or 0) for name in resident}
    assert more == {name: engine if name in ("checked", "student") else 0 for name in resident}


def test_models_that_share_a_resident_engine_count_once(plan_of: Planner) -> None:
    """The engine of `base` is that of `same`, which `checked` asks after it."""
    same = "models: {same: {path: smollm2-135m-instruct, resident: true}, "
    text = RESIDENT.replace("models: {", same).replace("against: base", "against: same")
    text = text.replace("  verdict:", "  more: {generate: respond, from: tasks, model: same}\n  verdict:")
    alone = by_name(estimate(plan_of(text), None))
    apart = by_name(estimate(plan_of(text, "models.same.max_model_len=64"), None))
    engine = ENGINE_BYTES["vllm"] + PACKAGED["smollm2-135m-instruct"].stored_bytes
    assert (apart["more"].memory or 0) - (alone["more"].memory or 0) == engine


def test_what_is_done_costs_nothing_and_gives_its_real_rows(
    plan_of: Planner, text: str, tmp_path: Path
) -> None:
    plan = plan_of(text)
    run = RunDirectory.create(tmp_path / "run", name="t")
    commit(run, plan, "tasks", 0, 10)
    finish(run, plan, "tasks")
    commit(run, plan, "answers", 0, 4)
    costs = by_name(estimate(plan, run))
    assert (costs["tasks"].state, costs["tasks"].rows, costs["tasks"].tokens) == ("reused", 10, 0)
    assert (costs["answers"].state, costs["answers"].parts) == ("partly done", 1)
    assert costs["answers"].rows == 40
    whole = by_name(estimate(plan, None))["answers"]
    assert costs["answers"].tokens == pytest.approx(whole.tokens * 10 / 40 * 6 / 10, abs=1)
    text_shown = show(plan, list(costs.values()), run="runs/t")
    assert "to run (1 part done)" in text_shown
    assert "12 to run, 1 reused" in text_shown


def test_speeds_are_those_that_were_measured(plan_of: Planner, text: str, tmp_path: Path) -> None:
    plan = plan_of(text)
    run = RunDirectory.create(tmp_path / "run", name="t")
    usage = Usage(requests=10, prompt_tokens=1000, completion_tokens=5000)
    commit(run, plan, "answers", 0, 10, usage)
    finish(run, plan, "answers", seconds=51.0)
    run.write_plan(1, as_record(plan))
    base = plan.models["base"]
    assert measured(plan, run).of(base) == pytest.approx(100.0)
    assert measured(plan, None).of(base) == pytest.approx(ENGINE_SPEED["vllm"], rel=0.05)


def test_a_training_like_one_that_is_done_is_estimated_to_take_as_long(
    plan_of: Planner, text: str, tmp_path: Path
) -> None:
    """Whatever tokens it had: the estimate counts others."""
    plan = plan_of(text)
    run = RunDirectory.create(tmp_path / "run", name="t")
    commit(run, plan, "student", 0, 16)
    history = {"tokens": pa.array([7, 7], pa.int64()), "seconds": pa.array([3.0, 4.0])}
    write_sealed(run.step("student", plan.step("student").fingerprint).history, pa.table(history), {})
    finish(run, plan, "student", seconds=90.0)
    run.write_plan(1, as_record(plan))
    changed = plan_of(text, "steps.student.seed=5")
    cost = by_name(estimate(changed, run))["student"]
    assert cost.state == "to run"
    assert cost.seconds == pytest.approx(90.0, rel=0.01)


def test_a_heavier_model_is_slower_and_code_takes_its_time(plan_of: Planner, text: str) -> None:
    light = by_name(estimate(plan_of(text), None))["answers"]
    heavy = by_name(estimate(plan_of(text, "models.base.path=qwen2.5-coder-1.5b-instruct"), None))["answers"]
    assert 5 < heavy.seconds / light.seconds < 30
    tested = text.replace(
        "checked:  {verify: constraints", "checked:  {verify: tests, code: response, tests: prompt"
    )
    assert by_name(estimate(plan_of(tested), None))["checked"].seconds > 1


def test_a_damaged_model_size_is_a_question_mark(plan_of: Planner, text: str) -> None:
    costs = by_name(estimate(plan_of(text, "models.base.path=org/unknown"), None))
    assert costs["answers"].memory is None
    assert memory(costs["answers"].memory) == "?"


def test_the_tree_shows_every_step_once_below_the_last_it_waits_for(plan_of: Planner, text: str) -> None:
    plan = plan_of(text)
    drawn = tree(plan)
    assert sorted(name for _, name in drawn) == sorted(step.name for step in plan.steps)
    edges = {name: edge for edge, name in drawn}
    assert edges["tasks"] == edges["evals"] == ""
    assert edges["dataset"].endswith("├ ")
    assert edges["student"].endswith("└ ")
    assert len(edges["verdict"]) == len(edges["student"]) + 2


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (count(9_999), "9,999"),
        (count(56_789), "56.8k"),
        (count(1_234_567), "1.2M"),
        (duration(0.4), "<1 s"),
        (duration(42), "42 s"),
        (duration(420), "7 min"),
        (duration(12_000), "3 h 20 min"),
        (memory(3 << 29), "1.5 GiB"),
    ],
)
def test_figures(shown: str, text: str) -> None:
    assert shown == text


@pytest.mark.parametrize(("semantic", "embeds"), [("", False), (", semantic: 0.9", True)])
def test_decontamination_embeds_only_to_compare_meanings(
    plan_of: Planner, semantic: str, embeds: bool
) -> None:
    text = (
        "gristmill: 1\nname: c\nsteps:\n  rows: {source: constraints, rows: 3}\n"
        "  evals: {source: constraints, rows: 3, seed: 1}\n"
        f"  clean: {{decontaminate: {{against: evals{semantic}}}, from: rows}}\n"
    )
    assert (by_name(estimate(plan_of(text), None))["clean"].embedding is not None) is embeds


def test_the_start_of_an_embedder_counts_once_and_only_if_it_embeds(plan_of: Planner) -> None:
    text = (
        "gristmill: 1\nname: c\nsteps:\n  rows: {source: constraints, rows: 400}\n"
        "  apart: {dedup: semantic, columns: [prompt], from: rows}\n"
        "  again: {dedup: semantic, columns: [prompt], threshold: 0.8, from: apart}\n"
    )
    costs = by_name(estimate(plan_of(text), None))
    first, second = costs["apart"].embedding, costs["again"].embedding
    assert first is not None
    assert second is not None
    assert first.seconds == START + 400 / first.speed
    assert second.seconds == 0


def test_the_rows_of_another_step_that_are_searched_too_are_embedded(plan_of: Planner) -> None:
    text = (
        "gristmill: 1\nname: c\nsteps:\n  rows: {source: constraints, rows: 30}\n"
        "  others: {source: constraints, rows: 500, seed: 1}\n"
        "  found: {select: consistent, query: prompt, document: prompt, among: others, from: rows}\n"
    )
    embedding = by_name(estimate(plan_of(text), None))["found"].embedding
    assert embedding is not None
    assert embedding.texts == 530
