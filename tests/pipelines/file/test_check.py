"""The messages for whole files: each mistake with its place, in plain words, with the closest name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import load, loads

DATA = Path(__file__).parents[2] / "data"
HEAD = (
    "gristmill: 1\nname: t\nmodels: {base: {path: m}, e: {engine: embedder, path: m}, far: {engine: "
    "synthetic}}\n"
)
ROWS = "  rows: {source: constraints, rows: 3}\n"


def mistakes(steps: str, rest: str = "") -> list[str]:
    """The mistakes of a file with these steps after a valid source named `rows`."""
    with pytest.raises(SpecError) as refused:
        loads(HEAD + "steps:\n" + ROWS + "".join(f"  {line}\n" for line in steps.splitlines()) + rest, "f")
    return [f"{problem.field}: {problem.message}" for problem in refused.value.problems]


def test_ten_mistakes_are_ten_messages_each_on_its_line() -> None:
    file = DATA / "broken.yaml"
    marked = {
        int(number.group(1)): line
        for line, text in enumerate(file.read_text().splitlines(), 1)
        if (number := re.search(r"# (\d+):", text))
    }
    with pytest.raises(SpecError) as refused:
        load(file)
    problems = refused.value.problems
    assert [problem.line for problem in problems] == [marked[number] for number in range(1, 11)]
    text = str(refused.value)
    for meant in ("seed", "vllm", "rows", "constraints", "generate", "answers", "normalize", "base"):
        assert f"did you mean '{meant}'?" in text
    assert "write seconds, or '90s', '15m', '2h'" in text
    assert "expected a whole number; found 'many'" in text


def test_a_sound_file_says_what_it_says() -> None:
    spec = load(DATA / "pipeline.yaml")
    assert list(spec.steps)[:3] == ["tasks", "evals", "answers"]
    answers = spec.steps["answers"]
    assert (answers.label, answers.inputs, answers.params["model"]) == (
        "generate: respond",
        ("tasks",),
        "base",
    )
    assert spec.steps["kept"].label == "keep"
    assert spec.steps["verdict"].inputs == ("evals",)
    assert spec.steps["evals"].seed == 5
    assert spec.steps["student"].on_failure == "stop"
    assert spec.budget.time == 900
    assert spec.models["base"].options == {"max_model_len": 1024}
    assert spec.loop.promote == {"student": "base"}


def test_the_resolved_text_loads_as_the_same_specification() -> None:
    spec = load(DATA / "pipeline.yaml", ["vars.rows=9"])
    again = loads(spec.resolved())
    assert again.model_dump() == spec.model_dump()
    assert "${" not in spec.resolved()
    assert "vars" not in yaml.safe_load(spec.resolved())


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("s: {dedup: exact}", "steps.s.from: required, but missing"),
        ("s: {source: constraints, rows: 3, from: rows}", "steps.s.from: a source takes no rows"),
        ("s: {from: rows}", "steps.s: has no verb"),
        ("s: exact", "steps.s: a step is a mapping"),
        ("S: {dedup: exact, from: rows}", "steps.S: found 'S'; a name is a-z"),
        ("s: {dedup: exact, verify: constraints, from: rows}", "steps.s.verify: a step has one verb"),
        ("s: {dedup: exact, from: [rows, rows]}", "steps.s.from[1]: 'rows' is named twice"),
        ("s: {dedup: exact, from: {a: b}}", "steps.s.from: expected the name of a step; found a mapping"),
        (
            "s: {dedup: exact, from: rows, on_failure: stpo}",
            "steps.s.on_failure: found 'stpo'; did you mean 'stop'?",
        ),
        ("s: {dedup: exact, from: rows, seed: -1}", "steps.s.seed: expected a whole number from 0; found -1"),
        ("s: {select: random, from: rows}", "steps.s.rows: required, but missing: add `rows:`"),
        ("s: {select: random, rows: 0, from: rows}", "steps.s.rows: must be greater than 0; found 0"),
        ("s: {keep: 3, from: rows}", "steps.s.keep: expected text; found 3"),
        ("s: {generate: respond, from: rows, model: e}", "steps.s.model: 'e' is an embedder"),
        (
            "s: {generate: respond, from: rows, model: rows}",
            "steps.s.model: 'rows' is a step that makes rows",
        ),
        ("s: {dedup: semantic, from: rows, embedder: base}", "steps.s.embedder: 'base' is served by 'vllm'"),
        (
            "s: {train: sft, from: rows, model: far}",
            "steps.s.model: 'far' is served by 'synthetic': training needs weights",
        ),
        ("base: {train: sft, from: rows, model: base}", "steps.base: a model is called 'base' too"),
        (
            "s: {train: sft, from: rows, model: base, adapter: {kind: lora, rnk: 4}}",
            "steps.s.adapter.rnk: unknown key: found 'rnk'; did you mean 'rank'?",
        ),
        (
            "s: {decontaminate: {against: rows, thresold: 1}, from: rows}",
            "steps.s.decontaminate.thresold: unknown key: found 'thresold'; did you mean 'threshold'?",
        ),
        (
            "s: {evaluate: constraints, model: base, from: rows}",
            "steps.s.from: 'evaluate' takes its rows by `tasks:`",
        ),
    ],
)
def test_mistakes_in_a_step(step: str, said: str) -> None:
    found = mistakes(step)
    assert any(message.startswith(said) for message in found), found


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            "a: {dedup: exact, from: b}\nb: {dedup: exact, from: a}",
            "cycle of steps: a <- b <- a",
        ),
        ("a: {dedup: exact, from: a}", "cycle of steps: a <- a"),
        (
            "a: {export: jsonl, from: rows}\nb: {dedup: exact, from: a}",
            "'a' writes files and has no rows",
        ),
        (
            "a: {train: sft, from: rows, model: base}\nb: {dedup: exact, from: a}",
            "'a' makes a model, not rows",
        ),
        ("a: {train: sft, from: rows, model: a}", "cycle of steps: a <- a"),
    ],
)
def test_mistakes_between_steps(steps: str, said: str) -> None:
    (message,) = mistakes(steps)
    assert said in message


TRAINED = (
    "student: {train: sft, from: rows, model: base}\nverdict: {evaluate: constraints, model: student, "
    "against: base, tasks: rows}"
)


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        ("{promote: {rows: base}, when: 'verdict.x > 0'}", "loop.promote.rows: not a train step"),
        ("{promote: {student: bass}, when: 'verdict.x > 0'}", "did you mean 'base'?"),
        ("{promote: {student: far}, when: 'verdict.x > 0'}", "'far' is served by 'synthetic'"),
        ("{promote: {student: base}}", "loop.when: required with `promote`"),
        (
            "{promote: {student: base}, pursue: {student: bass}, when: 'verdict.x > 0'}",
            "loop.pursue.student: unknown model: found 'bass'; did you mean 'base'?",
        ),
        (
            "{promote: {student: base}, pursue: {student: far}, when: 'verdict.x > 0'}",
            "loop.pursue.student: 'far' is served by 'synthetic'",
        ),
        ("{pursue: {student: far}}", "`pursue` names 'student', which `promote` does not"),
        (
            "{promote: {student: base}, pursue: {student: base}, when: 'verdict.x > 0'}",
            "`pursue` and `promote` both name the model 'base': give `pursue` another model",
        ),
        ("{when: 'verdit.x > 0'}", "loop.when: unknown step: found 'verdit'; did you mean 'verdict'?"),
        ("{when: 'verdict'}", "loop.when: 'verdict' is a step: name one of its metrics"),
        ("{when: 'rows.x > 0'}", "loop.when: 'rows' has no metrics; evaluate steps do: verdict"),
        ("{when: 'f(x)'}", "loop.when: 'f(x)' is not allowed in a condition"),
        ("{rounds: 0}", "loop.rounds: must be at least 1; found 0"),
        ("{round: 2}", "loop.round: unknown key: found 'round'; did you mean 'rounds'?"),
    ],
)
def test_mistakes_in_the_loop(loop: str, said: str) -> None:
    found = mistakes(TRAINED, f"loop: {loop}\n")
    assert any(said in message for message in found), found


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "{path: m, max_model_length: 5}",
            "models.m.max_model_length: unknown key: found 'max_model_length'; did you mean 'max_model_len'?",
        ),
        (
            "{path: m, max_model_len: 5}",
            "models.m.max_model_len: must be at least 16; found 5",
        ),
        ("{max_model_len: 512}", "models.m.path: required, but missing"),
        ("smollm2", "models.m: a model is a mapping"),
        ("{engine: [vllm], path: m}", "models.m.engine: unknown engine"),
        (
            "{engine: embedder, path: m, pth: 2}",
            "models.m.pth: unknown key: found 'pth'; did you mean 'path'?",
        ),
    ],
)
def test_mistakes_in_a_model(model: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        loads(f"gristmill: 1\nname: t\nmodels: {{m: {model}}}\nsteps:\n{ROWS}")
    (problem,) = refused.value.problems
    assert str(problem).endswith(said) or said in str(problem)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a pipeline file is a mapping"),
        ("- a", "a pipeline file is a mapping"),
        ("gristmill: 2\nname: a\nsteps: {s: {source: constraints, rows: 1}}", "gristmill: found 2; there is"),
        ("gristmill: 1\nname: a", "steps: required"),
        ("gristmill: 1\nname: a\nsteps: {}", "steps: required"),
        ("gristmill: 1\nname: A b\nsteps: {s: {source: constraints, rows: 1}}", "name: found 'A b'"),
        (
            "gristmill: 1\nname: a\nmetrics: [mlflw]\nsteps: {s: {source: constraints, rows: 1}}",
            "did you mean 'mlflow'?",
        ),
    ],
)
def test_mistakes_at_the_top(text: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        loads(text)
    assert said in str(refused.value)


def test_one_mistake_hides_no_other() -> None:
    found = mistakes("a: {generate: respond, from: row, model: bas, samples: x, temprature: 1}")
    assert len(found) == 4


STUDENT = "a: {generate: respond, from: rows, model: %s}\nt: {train: %s, from: rows, model: %s%s}"


@pytest.mark.parametrize(
    ("settings", "setting", "fix"),
    [
        ("adapter: {kind: dora}", "adapter: {kind: dora}", "give its base `engine: transformers`"),
        ("train_norms: true", "train_norms: true", "give its base `engine: transformers`"),
        ("adapter: {kind: delta}", "adapter: {kind: delta}", "merge the student in a step"),
        ("adapter: {kind: mam}", "adapter: {kind: mam}", "`engine: transformers`, since it cannot be merged"),
    ],
)
def test_a_student_that_its_engine_cannot_load_is_found_before_it_is_trained(
    settings: str, setting: str, fix: str
) -> None:
    told = f"'t' is trained with {setting}, which the engine 'vllm' cannot load: "
    (found,) = mistakes(STUDENT % ("t", "sft", "base", f", {settings}"))
    assert found.startswith(f"steps.a.model: {told}")
    assert fix in found
    # A promoted student takes the place of its base, which a step asks in the next round.
    loop = "loop: {rounds: 2, promote: {t: base}, when: 't.loss < 1'}\n"
    (found,) = mistakes(STUDENT % ("base", "sft", "base", f", {settings}"), loop)
    assert found.startswith(f"loop.promote.t: {told}")


@pytest.mark.parametrize(
    "settings",
    ["", ", adapter: {kind: dora}", ", adapter: {kind: mam}", ", train_head: true"],
)
def test_transformers_serves_every_student_with_an_adapter(settings: str) -> None:
    head = HEAD.replace("{path: m}, e:", "{path: m, engine: transformers}, e:")
    steps = STUDENT % ("t", "sft", "base", settings)
    loads(head + "steps:\n" + ROWS + "".join(f"  {line}\n" for line in steps.splitlines()), "f")


@pytest.mark.parametrize("method", ["merge: soup", "merge: greedy_soup, from: rows"])
def test_a_student_that_cannot_be_merged_is_not(method: str) -> None:
    steps = (
        "t: {train: sft, from: rows, model: base, adapter: {kind: %s}}\nm: {%s, model: base, students: [t]}"
    )
    (found,) = mistakes(steps % ("bottleneck", method))
    assert found.startswith("steps.m.students")
    assert "'t' cannot be merged, since an adapter of kind 'bottleneck' does not change the weights" in found
    file = steps % ("svft", method)
    loads(HEAD + "steps:\n" + ROWS + "".join(f"  {line}\n" for line in file.splitlines()), "f")


@pytest.mark.parametrize(
    ("step", "kinds", "told"),
    [
        (
            "teacher: t",
            ("mam", "lora"),
            "teacher: 't' cannot be the teacher, since an adapter of kind 'mam' is",
        ),
        ("teacher: t", ("svft", "lora"), "train another kind, or merge it in a step and name that"),
        (
            "model: t",
            ("prefix", "lora"),
            "model: training cannot go on from 't': it has an adapter with kind",
        ),
        ("model: t", ("lora", "bottleneck"), "kind = lora, but this step asks for bottleneck: give the same"),
        (
            "model: t",
            ("prefix, prefix_tokens: 3", "prefix"),
            "with prefix_tokens = 3, but this step asks for 30",
        ),
        ("model: t", ("dora", "lora"), "it has an adapter with kind = dora, but this step asks for lora"),
        ("model: t", ("prefix", "prefix"), None),
        ("model: t", ("delta", "delta"), None),
        ("model: t", ("lora, init: pissa", "lora, rank: 32"), None),
        ("model: t", ("lora, init: quailora", "lora, rank: 32"), None),
        (
            "model: t",
            ("loram, init: pruned", "loram, init: pruned"),
            "init 'pruned' makes a base that only its own training has: merge the student in a step",
        ),
        ("teacher: t", ("dora", "lora"), None),
    ],
)
def test_a_student_that_a_training_cannot_read_is_found_before_it_is_trained(
    step: str, kinds: tuple[str, str], told: str | None
) -> None:
    method, model = ("distill", ", model: base") if "teacher" in step else ("sft", "")
    steps = (
        f"t: {{train: sft, from: rows, model: base, adapter: {{kind: {kinds[0]}}}}}\n"
        f"u: {{train: {method}, from: rows{model}, {step}, adapter: {{kind: {kinds[1]}}}}}"
    )
    if told is None:
        loads(HEAD + "steps:\n" + ROWS + "".join(f"  {line}\n" for line in steps.splitlines()), "f")
        return
    (found,) = mistakes(steps)
    assert found.startswith("steps.u.")
    assert told in found


def test_an_optimizer_state_is_not_carried_to_an_adapter_of_twice_the_rank() -> None:
    trained = "{train: sft, from: rows, model: %s, quantize: none, adapter: {init: %s}, carry_optimizer: %s}"

    def steps(init: str, carry: str) -> str:
        return f"t: {trained % ('base', init, 'true')}\nu: {trained % ('t', init, carry)}"

    (found,) = mistakes(steps("corda", "true"))
    assert "'t': it was saved with twice the rank that it trained (init 'corda')" in found
    for file in (steps("corda", "false"), steps("pissa", "true")):
        loads(HEAD + "steps:\n" + ROWS + "".join(f"  {line}\n" for line in file.splitlines()), "f")


def test_a_chain_is_merged_before_it_is_trained_further() -> None:
    steps = (
        "t: {train: sft, from: rows, model: base, quantize: none, sparse: {kind: cola}}\n"
        "u: {train: sft, from: rows, model: t, adapter: {rank: %d, alpha: %d}}"
    )
    (found,) = mistakes(steps % (16, 32))
    assert "training cannot go on from 't': sparse 'cola' saves all links of its chain side by side" in found
    # It may be the rank of all links together, which only the student's files tell.
    file = steps % (48, 96)
    loads(HEAD + "steps:\n" + ROWS + "".join(f"  {line}\n" for line in file.splitlines()), "f")


def test_a_promoted_student_is_one_that_the_next_round_can_train() -> None:
    step = "t: {train: sft, from: rows, model: base, adapter: {init: %s}}"
    loop = "loop: {rounds: %d, promote: {t: base}, when: 't.loss < 1'}\n"
    (found,) = mistakes(step % "quailora", loop % 2)
    assert found.startswith("loop.promote.t: training cannot go on from 't': init 'quailora' makes a base")
    for init, rounds in (("quailora", 1), ("pissa", 2)):
        loads(f"{HEAD}steps:\n{ROWS}  {step % init}\n{loop % rounds}", "f")


def test_a_reward_model_is_not_served_as_a_language_model() -> None:
    (found,) = mistakes(STUDENT % ("t", "reward", "base", ""))
    assert "the head of a reward model, which the engine 'vllm' cannot load: give its base `engine: " in found


MODELS: list[tuple[str, str]] = [
    ("{path: m, thinking: maybe}", "thinking: expected 'auto' or true or false or a mapping; found 'maybe'"),
    ("{path: m, thinking: aut}", "found 'aut'; did you mean 'auto'?"),
    ("{path: m, thinking: {markers: [x]}}", "thinking.markers: has too few parts; found a list"),
    ("{path: m, thinking: {enabled: 7}}", "thinking.enabled: expected true or false; found 7"),
    (
        "{path: m, temperature: 1}",
        "temperature: unknown key: .*; leave it out: `sampling: {...}` of the model",
    ),
    (
        "{engine: openai, url: 'http://h/v1', model: m, api_key: sk-123}",
        "leave it out: `key_env` names the variable",
    ),
    (
        "{engine: openai, base_url: 'http://h/v1', model: m}",
        "base_url: unknown key: .*`engine: openai` has `url`",
    ),
    ("{model: gpt-4}", "model: unknown key: .*`engine: openai` with `url` and `model` a server"),
]


@pytest.mark.parametrize(("model", "said"), MODELS)
def test_a_mistake_about_a_model_is_told_with_all_that_is_possible(model: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        loads(HEAD.replace("{path: m}", model, 1) + "steps:\n" + ROWS, "f")
    told = [f"{problem.field}: {problem.message}" for problem in refused.value.problems]
    assert [each for each in told if re.search(said, each)]
    assert not any("sk-123" in each or "there is 'auto'" in each for each in told)
