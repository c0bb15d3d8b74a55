from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.contracts.errors import ModelError, SpecError
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.file.model_kinds import ModelSpec
from gristmill.pipelines.plan.make import make_plan, order
from gristmill.pipelines.plan.nodes import Carry, Plan

Planner = Callable[..., Plan]


def test_every_step_knows_what_it_waits_for(plan_of: Planner, text: str) -> None:
    plan = plan_of(text)
    assert [step.name for step in plan.steps] == list(plan.spec.steps)
    verdict, clean, chosen = plan.step("verdict"), plan.step("clean"), plan.step("chosen")
    assert (verdict.inputs, verdict.models) == (("evals",), {"student": "train", "base": "model"})
    assert verdict.depends == ("evals", "student")
    assert (clean.inputs, clean.reads, clean.depends) == (("unique",), ("evals",), ("unique", "evals"))
    assert chosen.models == {"all-minilm-l6-v2": "embedder"}
    assert plan.models["base"].options == {"max_model_len": 1024}
    assert plan.step("student").on_failure == "stop"
    assert verdict.on_failure == "continue"
    assert len({step.fingerprint for step in plan.steps}) == len(plan.steps)
    assert all(len(step.fingerprint) == 64 for step in plan.steps)


def test_steps_come_after_what_they_need_and_else_in_the_files_order() -> None:
    text = """
gristmill: 1
name: t
steps:
  last: {dedup: exact, from: [b, a]}
  a: {dedup: exact, from: rows}
  b: {decontaminate: {against: other}, from: rows}
  rows: {source: constraints, rows: 3}
  other: {source: constraints, rows: 3}
"""
    assert order(loads(text)) == ["rows", "other", "b", "a", "last"]


def test_a_chain_of_thousands_of_steps_is_planned(plan_of: Planner) -> None:
    steps = "".join(f"  s{n}: {{dedup: exact, from: s{n - 1}}}\n" for n in range(1500, 0, -1))
    plan = plan_of(f"gristmill: 1\nname: t\nsteps:\n{steps}  s0: {{source: constraints, rows: 3}}\n")
    assert plan.steps[0].name == "s0"
    assert plan.steps[-1].name == "s1500"


def test_a_promoted_student_stands_in_for_its_model(plan_of: Planner, text: str, tmp_path: Path) -> None:
    carry = {"base": Carry(tmp_path / "model", "f" * 64, "student")}
    plain, carried = plan_of(text, round=2), plan_of(text, round=2, carry=carry)
    assert carried.models["base"].adapter == tmp_path / "model"
    assert carried.models["base"].digest != plain.models["base"].digest
    changed = {step.name for step in plain.steps if step.fingerprint != carried.step(step.name).fingerprint}
    assert {"answers", "student", "verdict"} <= changed
    assert not {"tasks", "evals"} & changed


def test_a_round_draws_anew_but_a_seed_given_holds(plan_of: Planner, text: str) -> None:
    first, second = plan_of(text), plan_of(text, round=2)
    assert first.step("tasks").fingerprint != second.step("tasks").fingerprint
    assert first.step("evals").fingerprint == second.step("evals").fingerprint
    assert second.step("evals").seed == 5


def test_what_cannot_be_found_is_told_all_at_once_with_its_line() -> None:
    text = """gristmill: 1
name: t
models: {a: {path: nowhere}, b: {path: here}}
steps:
  rows: {source: jsonl, path: /absent/rows.jsonl}
  more: {source: jsonl, path: /absent/more.jsonl}
"""

    def digest_of(model: ModelSpec) -> str:
        if getattr(model, "path", "") == "nowhere":
            raise ModelError("no model 'nowhere'")
        return "d"

    with pytest.raises(SpecError) as refused:
        make_plan(loads(text, "f.yaml"), file="f.yaml", digest_of=digest_of)
    assert [(p.file, p.line, p.field) for p in refused.value.problems] == [
        ("f.yaml", 3, "models.a"),
        ("f.yaml", 5, "steps.rows.path"),
        ("f.yaml", 6, "steps.more.path"),
    ]


def test_expressions_and_templates_are_read_before_anything_runs(plan_of: Planner) -> None:
    text = """
gristmill: 1
name: t
models:
  m: {engine: synthetic}
steps:
  rows: {source: constraints, rows: 3}
  made: {generate: template, template: "{% for x in prompt %}", model: m, from: rows}
  kept: {keep: "random() > 0.5", from: made}
  cut: {keep: "score >", from: kept}
  files: {keep: "read_text('/etc/passwd') = ''", from: cut}
  slept: {compute: {a: "1", b: "pg_sleep(10)"}, from: files}
  summed: {compute: {c: "sum(n)"}, from: slept}
  named: {compute: {d: "uper(text)"}, from: summed}
  system: {generate: template, template: "{{ text }}", system: "{{ text", model: m, from: named}
"""
    with pytest.raises(SpecError) as caught:
        plan_of(text)
    told = str(caught.value).splitlines()
    for step, said in (
        ("made", "template (inline)"),
        ("kept", "random() does not"),
        ("cut", "not a DuckDB SQL expression"),
        ("files", "read_text() reads tables or files"),
        ("slept", "compute, column 'b': "),
        ("summed", "looks at other rows"),
        ("named", "did you mean 'upper'?"),
        ("system", "template (inline)"),
    ):
        assert [line for line in told if f"steps.{step}" in line and said in line], (step, told)
    assert len(told) == 11  # and what `summed`, `named` and `system` read, which no step makes


def test_what_may_be_said_over_unknown_columns_is_planned(
    plan_of: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("planned_rules.py").write_text("def anything(row: dict) -> dict:\n    return row\n")
    text = """
gristmill: 1
name: t
models: {m: {engine: synthetic}}
steps:
  drafts: {source: constraints, rows: 3}
  rows: {map: "planned_rules:anything", from: drafts}
  kept: {keep: "a + b - 1 > quantile(0.2) AND year(t) > 2000", from: rows}
  more: {compute: {gain: "a - b", day: "date_trunc('day', t)"}, from: kept}
"""
    assert [step.name for step in plan_of(text).steps] == ["drafts", "rows", "kept", "more"]
