"""Models that consist of others: what is refused, in which order, by what they are known, what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.plan.difference import difference
from gristmill.pipelines.plan.estimate import GIB, estimate
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.nodes import Carry, Plan
from gristmill.pipelines.plan.record import as_record
from gristmill.pipelines.plan.show import show
from gristmill.pipelines.run.serving import ModelTable
from gristmill.pipelines.store.run_directory import RunDirectory

Planner = Callable[..., Plan]

FILE = """
gristmill: 1
name: t
models:
  up: {engine: combined, base: large, plus: student, minus: small, scale: 1.5}
  large: {path: l}
  small: {path: s, max_model_len: 512}
steps:
  answers: {generate: respond, from: rows, model: up}
  plain: {generate: respond, from: rows, model: large}
  student: {train: sft, from: taught, model: small}
  taught: {generate: respond, from: rows, model: small}
  rows: {source: constraints, rows: 3}
"""


#: Without a training, whose checks would read the weights.
GIVEN = """
gristmill: 1
name: t
models:
  up: {engine: combined, base: large, plus: tuned, minus: small}
  large: {path: l}
  tuned: {path: s}
  small: {path: s}
steps:
  rows: {source: constraints, rows: 3}
  answers: {generate: respond, from: rows, model: up}
  plain: {generate: respond, from: rows, model: large}
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as refused:
        loads(text, "f.yaml", overrides)
    return [str(problem) for problem in refused.value.problems]


def test_a_step_waits_for_the_students_of_its_combined_model(plan_of: Planner) -> None:
    plan = plan_of(FILE)
    assert [step.name for step in plan.steps] == ["rows", "taught", "student", "answers", "plain"]
    answers = plan.step("answers")
    assert (answers.models, answers.students) == ({"up": "model"}, ("student",))
    assert answers.depends == ("rows", "student")
    assert list(plan.models) == ["up", "large", "small"]
    assert [model.name for model in plan.models["up"].loaded] == ["large", "small", "small"]


def test_a_change_of_any_member_runs_its_steps_again(plan_of: Planner) -> None:
    def changed(*overrides: str, **digests: str) -> set[str]:
        before, after = plan_of(FILE), plan_of(FILE, *overrides, digests=digests)
        return {step.name for step in before.steps if after.step(step.name).fingerprint != step.fingerprint}

    assert changed(l="new") == {"answers", "plain"}
    assert changed(s="new") == {"answers", "student", "taught"}
    assert changed("steps.student.epochs=5") == {"answers", "student"}
    assert changed("models.up.scale=0.5") == {"answers"}
    assert changed("models.up.minus=large") == {"answers"}
    assert changed("models.up.batch_size=16", "models.up.plus=[student]") == set(), "the same, in other words"
    assert changed("models.up.batch_size=7", "models.up.draft=4") == set(), "only the speed is another"
    # Each device draws other random numbers from a seed.
    assert changed("models.up.device=cpu") == {"answers"}
    # How a member is served by itself is not how it is loaded here.
    assert changed("models.large.max_model_len=99") == {"plain"}


def test_a_promoted_member_changes_the_combined_model(plan_of: Planner, tmp_path: Path) -> None:
    plain, carried = plan_of(FILE), plan_of(FILE, carry={"large": Carry(tmp_path, "f" * 64, "student")})
    assert plain.models["up"].digest != carried.models["up"].digest


def test_a_member_can_be_a_model_as_the_file_has_it(plan_of: Planner, tmp_path: Path) -> None:
    """What promoted students have learned, added to a large model."""
    text = FILE.replace("plus: student, minus: small,", "plus: small, minus: small@0,")
    first = plan_of(text)
    assert first.models["up"].members == {"base": ("large",), "plus": ("small",), "minus": ("small",)}
    assert "small@0" not in first.models
    later = plan_of(text, round=2, carry={"small": Carry(tmp_path, "f" * 64, "student")})
    assert later.models["up"].members["minus"] == ("small@0",)
    before, now = later.models["small@0"], later.models["small"]
    assert (before.adapter, now.adapter) == (None, tmp_path)
    assert before.digest == first.models["small"].digest != now.digest
    assert later.models["up"].digest != first.models["up"].digest
    # The run finds its weights, without the promoted adapter.
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "config.json").write_text("{}")
    (tmp_path / "s" / "model.safetensors").write_bytes(b"")
    here = replace(before, reference=str(tmp_path / "s"))
    table = ModelTable(replace(later, models={**later.models, "small@0": here}), RunDirectory(tmp_path))
    assert (table.weights("small@0").path, table.weights("small@0").adapter) == (tmp_path / "s", None)


def test_a_plan_tells_the_formula_and_why_it_differs(plan_of: Planner) -> None:
    plan = plan_of(FILE)
    shown = show(plan, estimate(plan, None), run=None)
    assert "  up: large + 1.5 x (student - small) (combined)" in shown
    other = plan_of(FILE, "models.up.base=small")
    [told] = [each for each in difference(as_record(plan), as_record(other)) if each.step == "answers"]
    assert told.reasons == (
        "model 'up' changed: large + 1.5 x (student - small) -> small + 1.5 x (student - small)",
    )
    two = plan_of(FILE, "models.up.plus=[student, large]", "models.up.scale=dynamic")
    assert two.models["up"].told == "large + dynamic x (student - small) + dynamic x (large - small)"


def test_the_memory_of_a_step_holds_every_member(plan_of: Planner, tmp_path: Path) -> None:
    for name, size in (("l", 3), ("s", 1)):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "model.safetensors").open("wb") as file:
            file.truncate(size * GIB)
    text = GIVEN.replace("path: l", f"path: {tmp_path}/l").replace("path: s", f"path: {tmp_path}/s")
    cost = {each.step.name: each.memory for each in estimate(plan_of(text), None)}
    assert cost["answers"] == GIB // 2 + GIB + 5 * GIB, "the large model, and both small ones"
    assert cost["plain"] == GIB // 2 + 4 * GIB + 3 * GIB


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["models.up.plus=studnt"], "plus: unknown model: found 'studnt'; did you mean 'student'?"),
        (["models.up.minus=taught"], "'taught' is a step that makes rows; this needs a model or a train"),
        (["models.up.base=up"], "'up' is served by 'combined': logits are combined of models with weights"),
        (["models.small={engine: embedder, path: e}"], "'small' is an embedder; this needs a model that gen"),
        (["models.small={engine: synthetic}"], "'small' is served by 'synthetic': logits are"),
        (["models.up.minus=[small, small, small]"], "`minus` names 3 models and `plus` 1: name one"),
        (["models.up.scale=[1.0, 2.0]"], "`scale` has 2 numbers and `plus` 1 models: give one for each"),
        (["models.up.parts=3"], "`parts` divides a weight that is found at each token: add `scale: dynamic`"),
        (["models.up.path=x"], "path"),
        (
            ["steps.student.adapter={kind: delta}", "steps.student.sparse={kind: lift}"],
            "which the engine 'combined' cannot load",
        ),
        (["steps.student.model=up"], "'up' is served by 'combined': training needs weights"),
        (["steps.taught.model=up"], "cycle of steps: "),
        (["steps.answers.model=up@0"], "'up' is combined of other models, and 'up@0' is not what it was in"),
        (["steps.answers.json_schema={}"], "'up' is served by 'combined', which does not support json"),
        (["loop={promote: {student: up}, when: a.b > 0}"], "'up' is served by 'combined', which cannot take"),
    ],
)  # fmt: skip
def test_what_cannot_be_combined_is_refused(overrides: list[str], told: str) -> None:
    found = problems(FILE, *overrides)
    assert any(told in problem for problem in found), found


def test_a_refusal_names_the_place_of_the_member() -> None:
    found = problems(FILE, "models.up.plus=[student, nobody]")
    assert any("models.up.plus[1]" in problem for problem in found), found


def test_a_member_in_a_repeated_block_is_the_one_of_the_last_turn(plan_of: Planner) -> None:
    plan = plan_of("""
gristmill: 1
name: t
models:
  up: {engine: combined, base: large, plus: [student], minus: small}
  large: {path: l}
  small: {path: s}
steps:
  rows: {source: constraints, rows: 3}
  turns:
    repeat: 2
    steps:
      taught: {generate: respond, from: rows, model: small}
      student: {train: sft, from: taught, model: small}
  answers: {generate: respond, from: rows, model: up}
""")
    assert plan.step("answers").students == ("student_2",)


def test_other_tokens_are_found_before_anything_runs(plan_of: Planner, tmp_path: Path) -> None:
    def save(name: str, **added: int) -> str:
        (tmp_path / name).mkdir(exist_ok=True)
        tokens = {"model": {"vocab": {"a": 0, "b": 1}}}
        more = [{"id": number, "content": text} for text, number in added.items()]
        (tmp_path / name / "tokenizer.json").write_text(json.dumps({**tokens, "added_tokens": more}))
        return str(tmp_path / name)

    large, small = save("large", end=2), save("small", end=2)
    text = GIVEN.replace("path: l", f"path: {large}").replace("path: s", f"path: {small}")
    plan_of(text)
    save("small", end=3)
    with pytest.raises(SpecError) as refused:
        plan_of(text)
    [problem] = refused.value.problems
    assert str(problem).startswith("f.yaml:5:3: models.up: 'large' and 'tuned' have different tokenizers")
    assert "'end' is token 2 and token 3" in str(problem)
    # A model that is not on this machine yet is compared when it is loaded.
    make_plan(loads(text.replace(f"path: {small}", "path: org/small")), file="f", digest_of=lambda model: "d")


def test_a_promoted_student_that_a_combined_model_cannot_load_is_refused() -> None:
    """Its base is only a member: no step asks it."""
    text = FILE.replace("plus: student, minus: small,", "plus: small, minus: small@0,")
    text = text.replace("model: small}\n  rows", "model: large}\n  rows")
    text += "loop: {rounds: 2, promote: {student: small}, when: 'student.loss < 1'}\n"
    [found] = problems(text, "steps.student.adapter={kind: delta}")
    assert found.endswith(
        "which the engine 'combined' cannot load: merge the student in a step (`merge: task-arithmetic`) and "
        "name that, or train an adapter"
    )
    assert "loop.promote.student: 'student' is trained with adapter: {kind: delta}" in found
    loads(text, "f.yaml")
