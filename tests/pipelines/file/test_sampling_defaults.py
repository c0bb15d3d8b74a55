"""``sampling:`` of a model: which steps inherit it, how they override it, and mistakes in it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.file.schema import schema
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.nodes import Plan

FILE = """
gristmill: 1
name: t
models:
  teacher: {engine: synthetic, sampling: {temperature: 0.5, max_tokens: 99, min_p: 0.05, stop: [END]}}
  base: {path: m, sampling: {temperature: 0.8}}
  plain: {path: m}
  e: {engine: embedder, path: m}
steps:
  rows: {source: constraints, rows: 3}
  asked: {generate: respond, from: rows, model: teacher}
  own: {generate: respond, from: rows, model: teacher, temperature: 0, max_tokens: 7}
  made: {generate: template, template: "{{ prompt }}", from: rows, model: teacher, top_p: 0.9}
  tried: {generate: attempts, template: "{{ prompt }}", from: rows, model: teacher, check: {verify: number}}
  gone_on: {generate: complete, template: "{{ prompt }}", from: rows, model: plain}
  first: {train: sft, from: asked, model: base}
  second: {train: sft, from: asked, model: first}
  spoken: {generate: respond, from: rows, model: second}
  judged: {evaluate: constraints, tasks: rows, model: base}
  answered: {evaluate: answers, tasks: rows, model: base, check: {verify: constraints}}
"""


def asked(step: str, *overrides: str) -> tuple[Any, ...]:
    operator: Any = loads(FILE, "f.yaml", overrides).steps[step].operator
    names = ("temperature", "max_tokens", "min_p", "top_p", "stop")
    return tuple(getattr(operator, name) for name in names)


def plan(*overrides: str) -> Plan:
    return make_plan(loads(FILE, "f.yaml", overrides), file="f.yaml", digest_of=lambda model: "d")


def changed(*overrides: str) -> set[str]:
    before, after = plan(), plan(*overrides)
    return {step.name for step in before.steps if after.step(step.name).fingerprint != step.fingerprint}


def test_each_way_of_asking_takes_what_it_does_not_say_itself() -> None:
    assert asked("asked") == (0.5, 99, 0.05, 1.0, ("END",))
    assert asked("own") == (0.0, 7, 0.05, 1.0, ("END",))
    assert asked("made") == (0.5, 99, 0.05, 0.9, ("END",))
    assert asked("tried") == (0.5, 99, 0.05, 1.0, ("END",))
    assert asked("gone_on") == (1.0, 256, 0.0, 1.0, ()), "another model has nothing to do with it"


def test_a_student_is_asked_as_the_model_it_was_trained_from() -> None:
    assert asked("spoken") == (0.8, 256, 0.0, 1.0, ())


def test_an_evaluation_stays_greedy() -> None:
    steps: Any = loads(FILE).steps
    assert steps["judged"].operator.temperature == 0
    assert steps["answered"].operator.temperature == 0


def test_one_flag_changes_all_that_say_nothing_else() -> None:
    flag = "models.teacher.sampling.temperature=0.7"
    assert [asked(step, flag)[0] for step in ("asked", "made", "tried", "own", "spoken")] == [
        0.7,
        0.7,
        0.7,
        0,
        0.8,
    ]
    assert asked("gone_on", "models.plain.sampling.temperature=0.7")[0] == 0.7, "also where the file has none"


def test_what_is_hashed_is_what_is_asked() -> None:
    # The students learn from `asked`.
    below = {"asked", "first", "second", "spoken"}
    assert changed("models.teacher.sampling.temperature=0.7") == {"made", "tried", *below}
    assert changed("models.teacher.sampling.max_tokens=98") == {"made", "tried", *below}
    assert changed("steps.asked.temperature=0.5", "steps.asked.max_tokens=99") == set(), (
        "spelled out, it is the same"
    )
    assert changed("models.base.sampling.temperature=1.1") == {"spoken"}, "training asks nothing"
    assert changed("models.plain.sampling.max_tokens=256") == set(), "a default is the default"
    params: Any = plan().step("asked").request["params"]
    assert (params["temperature"], params["max_tokens"]) == (0.5, 99)


def test_the_file_as_it_is_recorded_asks_the_same() -> None:
    spec = loads(FILE)
    assert loads(spec.resolved()).model_dump() == spec.model_dump()


def test_a_student_may_stand_in_for_the_same_weights_asked_otherwise() -> None:
    loop = "loop: {promote: {first: plain}, when: 'judged.n > 0'}\n"
    assert loads(FILE + loop).loop.promote == {"first": "plain"}
    other = FILE.replace("plain: {path: m}", "plain: {path: n}")
    with pytest.raises(SpecError, match="is trained from a model other than 'plain'"):
        loads(other + loop)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "models.teacher.sampling.temprature=1",
            "models.teacher.sampling.temprature: unknown key: found 'temprature'; did you mean 'temp",
        ),
        (
            "models.teacher.sampling.top_p=2",
            "models.teacher.sampling.top_p: must be at most 1; found 2",
        ),
        (
            "models.teacher.sampling.max_tokens=many",
            "models.teacher.sampling.max_tokens: expected a whole number; found 'many'",
        ),
        ("models.teacher.sampling=hot", "models.teacher.sampling: expected a mapping; found 'hot'"),
        ("models.e.sampling.temperature=1", "models.e.sampling: unknown key: found 'sampling'"),
        (
            "models.teacher.samplng.temperature=1",
            "models.teacher.samplng: unknown key: found 'samplng'; did you mean 'sampling'?",
        ),
        ("steps.own.samples=2", "steps.own: several samples at temperature 0 are one sample"),
    ],
)
def test_mistakes_are_told_once_at_their_place(override: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        loads(FILE, "f.yaml", [override])
    (problem,) = refused.value.problems
    assert str(problem).partition(": ")[2].startswith(said)


def test_a_default_that_does_not_fit_a_step_is_told_at_the_step() -> None:
    with pytest.raises(SpecError) as refused:
        loads(FILE, "f.yaml", ["models.teacher.sampling.temperature=0", "steps.made.samples=3"])
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.field) == ("f.yaml", 13, "steps.made")
    assert "set temperature above 0" in problem.message


def test_nothing_given_is_nothing_inherited() -> None:
    base: Any = loads(FILE).models["base"]
    assert base.sampling == {"temperature": 0.8}
    for given in ("null", "{}"):
        text = FILE.replace("sampling: {temperature: 0.8}", f"sampling: {given}")
        spoken: Any = loads(text).steps["spoken"].operator
        assert spoken.temperature == 1.0


def test_the_schema_knows_it() -> None:
    validator = Draft202012Validator(schema())
    file = yaml.safe_load(FILE)
    assert [error.message for error in validator.iter_errors(file)] == []
    for model, sampling in (
        ("teacher", {"temprature": 1}),
        ("base", {"top_p": 2}),
        ("e", {"temperature": 1}),
    ):
        wrong = copy.deepcopy(file)
        wrong["models"][model]["sampling"] = sampling
        assert list(validator.iter_errors(wrong)), model
