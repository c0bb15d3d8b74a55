"""The recipes about labels of unequal worth, and about what is worth learning from another's failures."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gristmill.pipelines.file.load import load
from gristmill.pipelines.file.locate import recipes


def rows(run: Any, step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run[step].to_arrow().to_pylist()
    return found


def number_in(text: str) -> int:
    return int(re.search(r"What is (\d+)", text)[1])  # type: ignore[index]


def with_model(folder: Path, name: str, model: str) -> str:
    """The recipe with one more model, which a test asks in the place of a student."""
    text = recipes()[name].read_text()
    path = folder / f"{name}.yaml"
    path.write_text(text.replace("\nmodels:\n", f"\nmodels:\n  {model}: {{engine: synthetic}}\n"))
    return path.name


#: Question -> the weak label's number, the strong model's own, and those of its samples after stage 1.
#: All are right with 11, 12, ... for 1, 2, ...; an answer of None has no number.
WEAK = {1: 11, 2: 12, 3: 0, 4: 0, 5: None, 6: None}
OWN = {1: 11, 2: 99, 3: 13, 4: 98, 5: None, 6: 16}
SAMPLES = {
    1: [11, 11, 11, 5], 2: [12, 7, 8, 9], 3: [13, 13, 13, 13], 4: [0, 0, 0, 97], 5: [15, 15, None, None],
    6: [16, 16, 16, None],
}  # fmt: skip


def test_reasoning_learns_what_both_models_say_then_prefers_what_it_is_sure_of(
    recipe: Any, tmp_path: Path
) -> None:
    asked: Counter[int] = Counter()

    def said(prompt: str, seed: int) -> str:
        number = number_in(prompt)
        asked[number] += 1
        said = [WEAK[number], OWN[number], *SAMPLES[number]][asked[number] - 1]
        turn = chr(ord("A") + asked[number] - 1)
        return f"Turn {turn}. I do not know." if said is None else f"Turn {turn}. The answer is {said}."

    questions = [{"question": f"What is {n} + 10?", "answer": str(n + 10)} for n in WEAK]
    file = with_model(tmp_path, "weak_to_strong", "said")
    for until in ("lessons", "pairs"):
        run = recipe(
            file, said, {"samples": 4, "sure": 0.7},
            *(f"steps.{step}.model=said" for step in ("labels", "own", "sampled")),
            "steps.others={keep: 'fold >= 0', from: folded}",
            until=until, model="said", questions=questions, evals=[{"question": "Why?", "answer": "1"}],
        )  # fmt: skip
        if until == "lessons":
            learnt, labels = rows(run, "lessons"), rows(run, "labels")
    assert {number_in(row["prompt"]): row["found"] for row in labels} == {
        number: None if said is None else str(said) for number, said in WEAK.items()
    }, "the naive student and the ceiling learn the same questions"
    lessons = {number_in(row["prompt"]): row["response"] for row in learnt}
    assert lessons == {1: "Turn A. The answer is 11."}, "the weak answer that the strong model agrees with"
    pairs = {number_in(row["prompt"]): (row["chosen"], row["rejected"]) for row in rows(run, "pairs")}
    assert set(pairs) == {1, 3, 4, 6}, "it is not sure of question 2, nor by half of its samples of 5"
    assert pairs[3][1] == "Turn A. The answer is 0.", "the weak answer is rejected"
    assert pairs[3][0].endswith("13.")
    # Samples come in any order: three of them have the number that it is sure of.
    assert re.fullmatch(r"Turn [CDE]\. The answer is 11\.", pairs[1][0])
    assert pairs[1][1] == "Turn F. The answer is 5."
    assert pairs[4][1].endswith("97."), "it may be sure of what is wrong: nobody knows the truth here"
    assert pairs[6][0].endswith("16.")
    assert pairs[6][1] == "Turn A. I do not know."


def test_meta_ranking_has_references_of_both_kinds_where_the_weak_model_is_always_wrong(
    recipe: Any, tmp_path: Path
) -> None:
    """The weak model finds answers that work more reliable than those that do not."""

    def said(prompt: str, seed: int) -> str | dict[str, float]:
        if "--- A ---" in prompt:
            worked = ["I add" in prompt.split(f"--- {label} ---")[1].split("---")[0] for label in "AB"]
            return {"A": 0.5 + 0.4 * (worked[0] - worked[1]), "B": 0.5 + 0.4 * (worked[1] - worked[0])}
        number = number_in(prompt)
        if number % 3 == 0:
            return "I do not know."
        return f"{'I add. ' if number % 3 == 1 else ''}The answer is 0."

    questions = [{"question": f"What is {n} + 10?", "answer": f"I add.\n#### {n + 10}"} for n in range(60)]
    run = recipe(
        with_model(tmp_path, "weak_to_strong", "said"), said, {},
        *(f"steps.{step}.model=said" for step in ("labels", "tried", "ranked")),
        until="reliable", model="said", questions=questions, evals=[{"question": "Why?", "answer": "1"}],
    )  # fmt: skip
    known = [(row["quality"], row["response"]) for row in rows(run, "references")]
    assert sorted(quality for quality, _ in known) == [False, False, True, True, True]
    assert all(("####" in response) == quality for quality, response in known)
    assert not any("do not know" in response for _, response in known), "what is wrong is a number"
    assert not any(row["passed"] for row in rows(run, "labels"))
    reliable = rows(run, "reliable")
    assert reliable
    assert all("I add" in row["response"] for row in reliable)


def test_only_the_ceiling_learns_the_truth_of_the_questions_that_are_labeled() -> None:
    """Nothing that the other students learn is chosen by whether it is right: only the references are, which
    are of the questions that the weak model learnt.
    """
    steps = load("weak_to_strong").steps
    strong = {name: each for name, each in steps.items()
              if each.verb == "train" and getattr(each.operator, "model", "") == "strong"}  # fmt: skip
    assert {name: each.inputs for name, each in strong.items()} == {
        "naive": ("labels",), "confidence": ("labels",), "filtered": ("reliable",), "stage1": ("lessons",),
        "ceiling": ("held",),
    }  # fmt: skip
    assert strong["confidence"].value == "weak_to_strong"
    told = {name: each for name, each in steps.items() if each.verb == "keep" and "passed" in str(each.value)}
    assert set(told) == {"missed"}
    assert (told["missed"].inputs, steps["tried"].inputs) == (("tried",), ("examples",))
    assert steps["examples"].inputs == steps["good"].inputs == steps["supervisor"].inputs == ("gold",)
    gaps = {name: each for name, each in steps.items() if each.value == "recovered_gap"}
    assert {name: each.inputs for name, each in gaps.items()} == {
        f"{name}_gap": (f"{name}_answers",)
        for name in ("naive", "confidence", "filtered", "stage1", "reasoned")
    }  # fmt: skip


def test_an_answer_without_a_number_counts_against_the_recovered_gap(recipe: Any, tmp_path: Path) -> None:
    """Of four questions the ceiling solves all, the weak model one, and the student two: one of its other
    answers has no number, and one is empty.
    """
    answers = {
        "weak": ["It is 11.", "It is 0.", "It is 0.", "It is 0."],
        "ceiling": ["It is 11.", "It is 12.", "It is 13.", "It is 14."],
        "naive": ["It is 11.", "It is 12.", "I do not know.", ""],
    }

    def said(prompt: str, seed: int) -> str:
        return answers[prompt.split(":")[0]][number_in(prompt) - 1]

    evals = [{"question": f"What is {n} + 10?", "answer": str(n + 10)} for n in (1, 2, 3, 4)]
    run = recipe(
        with_model(tmp_path, "weak_to_strong", "said"), said, {},
        *(f"steps.{name}_answers.{change}" for name in answers
          for change in ("model=said", f"template='{name}: {{{{ prompt }}}}'")),
        until="naive_gap", model="said", questions=[{"question": "Why?", "answer": "1"}], evals=evals,
    )  # fmt: skip
    measured = rows(run, "naive_gap")
    assert len(measured) == 4
    assert sorted(row["score"] for row in measured) == [0, 0, 1, 1]


def test_a_label_budget_is_spent_in_three_ways_at_one_price(recipe: Any) -> None:
    values = load("label_budget").steps
    operators = {name: values[name].operator for name in ("asked", "dear_labels", "some_cheap", "some_dear")}
    cost = {name: each.rows for name, each in operators.items()}  # type: ignore[attr-defined]
    assert cost["asked"] == 10 * cost["dear_labels"]
    assert cost["some_cheap"] + 10 * cost["some_dear"] == cost["asked"]
    both = values["both"]
    assert (both.inputs, both.operator.model) == (("some_dear",), "first")  # type: ignore[attr-defined]
    assert values["first"].inputs == ("some_cheap",)
    questions = [{"question": f"What is {n} + 10?", "answer": f"#### {n + 10}"} for n in range(60)]
    evals = [{"question": "Why?", "answer": "1"}]
    settings = {"cheap": 20, "dear": 2, "half_cheap": 10, "half_dear": 1}
    sets = {}
    for step in ("some_cheap", "some_dear", "cheap_labels", "dear_labels"):
        run = recipe("label_budget", lambda prompt, seed: "It is \\boxed{7}.", settings, until=step,
                     model="labeler", questions=questions, evals=evals)  # fmt: skip
        sets[step] = {row["prompt"]: row["response"] for row in rows(run, step)}
    assert {len(sets["some_cheap"]), len(sets["cheap_labels"])} == {10, 20}
    assert sets["some_cheap"].items() < sets["cheap_labels"].items()
    assert set(sets["cheap_labels"].values()) == {"It is \\boxed{7}."}
    assert all(row.startswith("#### ") for row in sets["dear_labels"].values())
    assert not sets["cheap_labels"].keys() & sets["dear_labels"].keys()


def fenced(code: str) -> str:
    return f"Now this.\n\n```python\n{code}\n```"


def failure(number: int) -> dict[str, Any]:
    """The expert's first action helps, its second goes wrong."""
    turns = [f"What is {number} + 10?", fenced(f"x = {number} + 10\nx"), f"Output:\n```\n{number + 10}\n```",
             fenced("x = 0"), "Output:\n```\n\n```", "The answer is 0."]  # fmt: skip
    roles = ["user", "assistant"] * 3
    return {
        "messages": [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)],
        "answer": str(number + 10),
    }


def test_eef_learns_the_fewest_expert_actions_after_which_the_student_succeeds(recipe: Any) -> None:
    """It can do 1 with or without help, 2 after the first action, and 3 never; the second loses all."""

    def act(messages: list[dict[str, str]], seed: int) -> str:
        number = number_in(messages[0]["content"])
        helped = sum("Now this." in turn["content"] for turn in messages)
        own = sum("I print." in turn["content"] for turn in messages)
        if number == 1:
            return "The answer is 11."
        if number == 2 and helped == 1 and not own:
            return "I print.\n\n```python\nx\n```"
        if own:
            return f"The answer is {messages[-1]['content'].split()[2]}."
        return "The answer is 0."

    run = recipe("eef", act, {"states": 12, "most": 2}, until="dataset", model="policy", talk=True,
                 failures=[failure(n) for n in (1, 2, 3)])  # fmt: skip
    chosen = {number_in(row["question"]): row for row in rows(run, "chosen")}
    assert {number: row["helped"] for number, row in chosen.items()} == {1: 0, 2: 1}
    said = [turn["content"] for turn in chosen[2]["messages"]]
    assert said[1] == fenced("x = 2 + 10\nx")
    assert said[-2] == "Output:\n```\n12\n```", "the student's program knows the expert's names"
    assert said[-1] == "The answer is 12."
    assert not any("x = 0" in text for text in said), "the action that went wrong is not learnt"


def test_eef_defines_the_names_of_all_expert_actions_before_a_state(recipe: Any) -> None:
    turns = ["What is 4 + 10?", fenced("x = 4"), "Output:\n```\n\n```", fenced("y = x + 10"),
             "Output:\n```\n\n```", "The answer is 0."]  # fmt: skip
    roles = ["user", "assistant"] * 3
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]

    def act(messages: list[dict[str, str]], seed: int) -> str:
        if len(messages) > 1 and "I print." in messages[-2]["content"]:
            return f"The answer is {messages[-1]['content'].split()[2]}."
        return "I print.\n\n```python\ny\n```" if len(messages) == 5 else "The answer is 0."

    run = recipe("eef", act, {"states": 12, "most": 2}, until="dataset", model="policy", talk=True,
                 failures=[{"messages": messages, "answer": "14"}])  # fmt: skip
    (chosen,) = rows(run, "chosen")
    assert chosen["helped"] == 2
    assert chosen["messages"][-2]["content"] == "Output:\n```\n14\n```"


def test_trans_lora_teaches_with_prompts_that_the_discriminator_takes_for_the_tasks(
    recipe: Any, tmp_path: Path, teach: Any
) -> None:
    few = [{"prompt": f"Add {n} and {n}.", "response": str(n + n)} for n in range(4)]
    asked: Counter[str] = Counter()

    def said(prompt: str, seed: int) -> str | tuple[str, float]:
        if "one other request" in prompt:
            asked["written"] += 1
            assert prompt.count("Request: Add") == 3
            n = asked["written"]
            return f"Request: {'Add' if n % 2 else 'Sing'} {n} and {n}."
        if prompt.startswith("Is this a request of the task?"):
            return ("yes", math.log(0.9)) if "Add" in prompt else ("no", math.log(0.8))
        asked["answered"] += 1
        return f"Done: {prompt}"

    run = recipe(
        with_model(tmp_path, "trans_lora", "said"), said, {"rows": 6, "against": 2},
        *(f"steps.{step}.model=said" for step in ("written", "told", "answered")),
        until="dataset", model="said", task=[few[0]], few=few,
    )  # fmt: skip
    taught = rows(run, "answered")
    assert len(taught) == 3
    assert all(re.fullmatch(r"Add (\d) and \1\.", row["prompt"]) for row in taught)
    assert all(row["response"] == f"Done: {row['prompt']}" for row in taught)
    assert [row["real"] for row in taught] == pytest.approx([0.9] * 3)
    # The old adapter answers, and no step of the target's side reads the task.
    steps = load("trans_lora").steps
    assert steps["answered"].operator.model == "old"  # type: ignore[attr-defined]
    seen, ahead = set[str](), ["answered"]
    while ahead:
        name = ahead.pop()
        seen.add(name)
        ahead += steps[name].inputs
    assert "task" not in seen


def test_the_repair_loop_learns_repairs_that_pass_and_is_judged_on_another_package(
    recipe: Any, tmp_path: Path
) -> None:
    steps = load("code_repair_loop").steps
    assert steps["verdict"].inputs == ("held_out",)
    sources = {name: steps[name].operator for name in ("functions", "unseen")}
    package = {name: each.package for name, each in sources.items()}  # type: ignore[attr-defined]
    assert package["functions"] != package["unseen"]
    source = 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n    """\n    return a + b\n'
    other = source.replace("add", "take").replace("3\n", "-1\n").replace("a + b", "a - b")
    for name, code in (("given", source), ("unseen", other)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"source": code, "prelude": ""}) + "\n")

    def said(prompt: str, seed: int) -> str:
        assert "A test of this function fails" in prompt
        return f"```python\n{source if seed % 2 else source.replace('a + b', 'a * b')}\n```"

    run = recipe(
        "code_repair_loop", said, {"samples": 8, "bugs": 1}, "loop={rounds: 1}",
        "steps.functions={source: jsonl, path: given.jsonl}",
        "steps.unseen={source: jsonl, path: unseen.jsonl}", until="chosen", model="sampler",
    )  # fmt: skip
    (learnt,) = rows(run, "chosen")
    assert "a + b" in learnt["response"]


IFEVAL = [{"key": 1, "prompt": "Write without commas.", "instruction_id_list": ["punctuation:no_comma"],
           "kwargs": [{}]}]  # fmt: skip


def test_self_train_rewards_what_ends_obeys_and_does_not_repeat_itself(recipe: Any, tmp_path: Path) -> None:
    said = {
        ("One and two.", "stop"): 1.0,
        ("One, two.", "stop"): 0.0,
        ("One one one one one.", "stop"): 0.0,
        ("One and two and then three", "length"): 0.0,
    }
    task: dict[str, Any] = {"prompt": "Count.", "constraints": json.dumps([{"kind": "no_commas"}])}
    task |= {"response_tokens": [1], "logprobs": [-1.0]}
    lines = [json.dumps({**task, "response": text, "finish": finish}) for text, finish in said]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    run = recipe(
        "self_train", str, {"turns": 1}, "steps.learning.first={student: {model: sampler}}",
        "steps.answers={source: jsonl, path: answers.jsonl}", until="rewarded_1", model=None,
        ifeval=IFEVAL, plain=[{"prompt": "a", "response": "b"}],
    )  # fmt: skip
    assert {(row["response"], row["finish"]): row["reward"] for row in rows(run, "rewarded_1")} == said


def test_self_train_goes_on_from_turn_to_turn_and_is_judged_on_more_than_its_task() -> None:
    spec = load("self_train", overrides=["vars.turns=3", "vars.ifeval=a.jsonl", "vars.plain=b.jsonl"])
    steps, gate = spec.steps, spec.loop.gate
    models = [steps[f"student_{turn}"].operator.model for turn in (1, 2, 3)]  # type: ignore[attr-defined]
    assert models == ["learner", "student_1", "student_2"]
    assert (spec.loop.promote, spec.loop.pursue) == ({"student_3": "sampler"}, {"student_3": "learner"})
    asked = [steps[f"answers_{turn}"].operator.model for turn in (1, 2, 3)]  # type: ignore[attr-defined]
    assert asked == models
    assert gate is not None
    assert dict(gate.yardsticks()) == {"verdict": "promote", "transfer": "transfer", "retention": "retain"}
    measures = [steps[name].operator for name, _ in gate.yardsticks()]
    assert {getattr(each, "against", None) for each in measures} == {"sampler"}
    assert {getattr(each, "model", None) for each in measures} == {"student_3"}
    assert steps["transfer"].inputs == ("ifeval",)
    assert not any("ifeval" in step.inputs for step in steps.values() if step.verb != "evaluate")
