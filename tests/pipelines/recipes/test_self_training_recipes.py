"""The recipes by which a model learns from its own answers, with scripted models: what is learnt of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gristmill.pipelines.file.load import load
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.nodes import Carry

Scorer = Callable[..., str]


def rows(run: Any, step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run[step].to_arrow().to_pylist()
    return found


def served(name: str, url: str) -> str:
    return f"models.{name}={json.dumps({'engine': 'openai', 'url': url, 'model': name})}"


def sums(*numbers: int) -> list[dict[str, Any]]:
    return [{"question": f"What is {n} + 10?", "answer": f"So it is.\n#### {n + 10}"} for n in numbers]


def number_in(text: str) -> int:
    return int(re.search(r"What is (\d+)", text)[1])  # type: ignore[index]


def test_rest_em_learns_what_is_right_and_of_easy_questions_no_more_than_of_others(recipe: Any) -> None:
    """Question 1 is always right, question 3 at every third attempt, and question 7 never."""
    tries: Counter[int] = Counter()

    def sampler(prompt: str, seed: int) -> str:
        number = number_in(prompt)
        tries[number] += 1
        right = number != 7 and tries[number] % number == 0
        return f"Attempt {tries[number]}. The answer is {number + 10 if right else 0}."

    run = recipe(
        "rest_em", sampler, {"samples": 6, "most": 2}, "loop={rounds: 1}",
        until="chosen", model="sampler", questions=sums(1, 3, 7), evals=sums(50),
    )  # fmt: skip
    assert Counter(number_in(row["prompt"]) for row in rows(run, "chosen")) == {1: 2, 3: 2}
    assert all(row["passed"] for row in rows(run, "chosen"))
    assert all("end with the line" in row["prompt"] for row in rows(run, "chosen"))


@pytest.mark.parametrize(("name", "sampling"), [
    ("rest_em", "solved"), ("code_repair_loop", "repaired"),
])  # fmt: skip
def test_each_round_samples_from_the_last_student_and_trains_the_base(
    name: str, sampling: str, tmp_path: Any
) -> None:
    """After a promotion the sampler is another model, and the training starts from the same one."""
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"question": "1?", "answer": "1", "prompt": "1?", "response": "1"}) + "\n")
    needed = {"rest_em": ("questions", "evals")}.get(name, ())
    spec = load(name, overrides=[f"vars.{each}={file}" for each in needed])
    carry = {"sampler": Carry(tmp_path, "d" * 64, "student")}
    first, second = make_plan(spec, file=name), make_plan(spec, file=name, round=2, carry=carry)
    asked = [plan.step(sampling).request["models"]["model"] for plan in (first, second)]
    trained = [plan.step("student").request["models"]["model"] for plan in (first, second)]
    assert asked[0] != asked[1]
    assert trained[0] == trained[1]
    assert second.models["base"].adapter is None


def test_spin_prefers_peoples_answers_to_the_last_students(recipe: Any) -> None:
    said = {"Name a fruit.": "A stone.", "Name a river.": "The Rhine."}
    run = recipe(
        "spin", lambda prompt, seed: said[prompt], {"turns": 1},
        until="dataset", model="policy",
        rows=[{"prompt": "Name a fruit.", "response": "A pear."},
              {"prompt": "Name a river.", "response": "The Rhine."}],
    )  # fmt: skip
    (pair,) = rows(run, "pairs_1")
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ("Name a fruit.", "A pear.", "A stone.")
    # The next student starts from the last one, which is its reference, and learns the last two turns' pairs.
    steps = load("spin").steps
    assert steps["student_3"].operator.model == "student_2"  # type: ignore[attr-defined]
    assert steps["student_3"].inputs == ("pairs_3", "pairs_2")


def test_llm2llm_asks_the_teacher_about_what_the_student_missed(recipe: Any) -> None:
    """The student knows 1, misses 2 and 3; the teacher is sure only of its problem like 2."""
    seen: list[str] = []
    tries: Counter[str] = Counter()

    def teacher(prompt: str, seed: int) -> str:
        tries[prompt] += 1
        if re.fullmatch(r"What is \d+ \+ 10\?", prompt):
            return "It is 11." if "1 +" in prompt else "It is 0."
        if 'Begin with "Problem:"' in prompt:
            seen.append(prompt)
            return (
                f"Problem: Ann walks {number_in(prompt)} miles and {number_in(prompt)} more. How far is it?"
            )
        walked = re.search(r"walks (\d+)", prompt)[1]  # type: ignore[index]
        return f"Sum it. \\boxed{{{4 if walked == '2' else tries[prompt]}}}"

    # Whom the first turn asks is scripted; its training has no other use here.
    run = recipe("llm2llm", teacher, {"turns": 1}, "steps.tried_1.model=teacher", until="pool_1",
                 questions=sums(1, 2, 3))  # fmt: skip
    assert sorted(number_in(prompt) for prompt in seen) == [2, 3]
    pool = rows(run, "pool_1")
    assert [row["origin"] for row in pool] == ["seed"] * 3 + ["teacher"]
    assert "walks 2 miles" in pool[-1]["prompt"]
    steps = load("llm2llm").steps
    assert steps["student_2"].operator.model == "base"  # type: ignore[attr-defined]
    assert steps["tried_2"].inputs == ("questions",), "only seeds are asked again"
    # What the teacher wrote in a turn is learnt in the next one, and after the last turn by the last student.
    learnt = {name: step.inputs for name, step in steps.items() if step.verb == "train"}
    assert learnt == {
        "student_1": ("seeds",), "student_2": ("pool_1",), "student_3": ("pool_2",),
        "student_4": ("pool_3",), "last": ("pool_4",),
    }  # fmt: skip
    assert [steps[f"pool_{turn}"].inputs for turn in (1, 2, 3, 4)] == [
        ("seeds", "new_1"), ("pool_1", "new_2"), ("pool_2", "new_3"), ("pool_3", "new_4"),
    ]  # fmt: skip


def test_s3ft_learns_own_right_answers_then_own_words_then_the_reference(recipe: Any, teach: Any) -> None:
    said = {"Capital of Italy?": "It is Rome.", "Capital of Peru?": "Cusco.", "Capital of Chad?": "Lagos."}
    reworded = {"Peru": "That is Lima.", "Chad": "That is Lagos."}

    def policy(prompt: str, seed: int) -> str:
        if "in your own words" in prompt:
            return reworded["Peru" if "Peru" in prompt else "Chad"]
        return said[prompt]

    def judge(prompt: str, seed: int) -> str:
        found = re.search(r"Right answer:\n(.*)\n\nOther answer:\n(.*)\n", prompt)
        assert found is not None
        wanted, other = found.groups()
        return "Yes." if wanted.rstrip(".") in other else "No."

    run = recipe(
        "s3ft", policy, {}, served("judge", teach(judge).url), until="chosen", model="policy",
        rows=[{"prompt": prompt, "response": response} for prompt, response in (
            ("Capital of Italy?", "Rome."), ("Capital of Peru?", "Lima."), ("Capital of Chad?", "N'Djamena."),
        )],
    )  # fmt: skip
    assert {row["prompt"]: (row["origin"], row["response"]) for row in rows(run, "chosen")} == {
        "Capital of Italy?": ("own", "It is Rome."),
        "Capital of Peru?": ("paraphrase", "That is Lima."),
        "Capital of Chad?": ("reference", "N'Djamena."),
    }


def test_t_sas_learns_what_its_samples_agree_on_and_no_answer_of_the_file(recipe: Any) -> None:
    """Samples agree on question 1, though few of them mark the answer, and not on question 2. Of question 3
    the three that have a number agree: too few of all.
    """
    tries: Counter[int] = Counter()

    def policy(prompt: str, seed: int) -> str:
        number = number_in(prompt)
        tries[number] += 1
        attempt = tries[number]
        if number == 3:
            return "The answer is 13." if attempt <= 3 else "I do not know."
        if number == 1 and attempt > 1:
            return "The answer is 11." if attempt > 6 else "1 + 10 = 11.\n\n11"
        return f"The answer is {attempt // 2}."

    run = recipe(
        "t_sas", policy, {"samples": 8}, until="labels", model="policy",
        questions=[{**row, "answer": "1234"} for row in sums(1, 2, 3)],
    )  # fmt: skip
    (label,) = rows(run, "sure")
    assert (number_in(label["prompt"]), label["found"], label["votes"]) == (1, "11", 7)
    assert label.get("answer") is None
    answered = load("t_sas").steps["answered"].operator
    assert answered.parser.find == "last", "nor need the student mark it"  # type: ignore[attr-defined]


def test_mbr_learns_the_sample_that_the_others_are_most_like(recipe: Any) -> None:
    said = ["the mill grinds grain by the river", "the mill grinds grain", "a stone in the sea",
            "the mill grinds the grain"]  # fmt: skip
    asked: Counter[str] = Counter()

    def policy(prompt: str, seed: int) -> str:
        asked[prompt] += 1
        return said[asked[prompt] - 1]

    run = recipe("mbr_finetuning", policy, {"samples": 4}, until="best", model="policy",
                 prompts=[{"prompt": "What does a mill do?"}])  # fmt: skip
    (best,) = rows(run, "best")
    assert best["response"] == "the mill grinds grain"
    assert best["expected_utility"] == max(row["expected_utility"] for row in rows(run, "rated"))


def test_qe_learns_the_rerankers_choice(recipe: Any, scorer: Scorer) -> None:
    said = ["short", "middle size", "the longest of them"]
    asked: Counter[str] = Counter()

    def policy(prompt: str, seed: int) -> str:
        asked[prompt] += 1
        return said[asked[prompt] - 1]

    run = recipe("qe_finetuning", policy, {"samples": 3},
                 f"models.reward={scorer(reward=lambda text: -abs(len(text) - 11.0))}",
                 until="best", model="policy", prompts=[{"prompt": "Say something."}])  # fmt: skip
    assert [row["response"] for row in rows(run, "best")] == ["middle size"]


def test_leti_learns_failures_with_the_interpreters_message_behind_the_bad_token(recipe: Any) -> None:
    from gristmill.pipelines.file.locate import recipes

    assert "good}\\n{{ prompt }}" in recipes()["leti"].read_text(), "it writes after the good token"
    problems = [
        {"prompt": f"Write f(x), which adds {n}.", "tests": f"assert f(1) == {1 + n}"} for n in (1, 2)
    ]
    # The scripted model has no API for texts to continue: the programs are given.
    given = {"compute": {"code": "'def f(x):\n    return x + 1'"}, "from": "problems"}
    run = recipe(
        "leti", lambda prompt, seed: "", {"turns": 1},
        f"steps.written_1={json.dumps(given)}",
        until="distinct_1", model="policy", problems=problems,
    )  # fmt: skip
    good, bad = sorted((row["text"] for row in rows(run, "distinct_1")), key=lambda text: "bad" in text)
    program = "```python\ndef f(x):\n    return x + 1\n```"
    assert good == f"<|good|>\nWrite f(x), which adds 1.\n{program}"
    assert bad.startswith(f"<|bad|>\nWrite f(x), which adds 2.\n{program}\n")
    assert "AssertionError" in bad or "assert f(1) == 3" in bad


def test_list_measures_its_pseudo_labels_by_steps_of_the_last_student(
    recipe: Any, make_model: Any, tmp_path: Any
) -> None:
    from gristmill.pipelines.file.locate import recipes

    text = recipes()["list_self_training"].read_text()
    text = text.replace("\nmodels:\n", "\nmodels:\n  said: {engine: synthetic}\n")
    (tmp_path / "list.yaml").write_text(text)
    base = make_model(max_position_embeddings=1024)
    run = recipe(
        "list.yaml", lambda prompt, seed: "flour", {"turns": 1}, "steps.answered_1.model=said",
        f"models.base={json.dumps({'path': str(base)})}", until="probed_1", model="said",
        labeled=[{"prompt": "Say the word.", "response": "flour flour"}],
        unlabeled=[{"prompt": f"Say the word {n}."} for n in range(2)],
    )  # fmt: skip
    influences = [row["influence"] for row in rows(run, "probed_1")]
    assert len(influences) == 2
    assert all(value > 0 for value in influences), "the answers are like the label"


def test_list_weighs_pseudo_labels_by_what_they_do_for_the_labeled_rows(recipe: Any, tmp_path: Any) -> None:
    """The influence of an answer is given here: it is what `score: influence` measures by training steps."""
    from gristmill.pipelines.file.locate import recipes

    text = recipes()["list_self_training"].read_text()
    text = text.replace("\nmodels:\n", "\nmodels:\n  said: {engine: synthetic}\n")
    (tmp_path / "list.yaml").write_text(text)
    worth = {"compute": {"influence": "CAST(response AS DOUBLE)"}, "from": "answered_1"}
    run = recipe(
        "list.yaml", lambda prompt, seed: prompt.split()[-1], {"turns": 1}, "steps.answered_1.model=said",
        f"steps.probed_1={json.dumps(worth)}", until="weighed_1", model="said",
        labeled=[{"prompt": "Say 7", "response": "7"}],
        unlabeled=[{"prompt": f"Say {n}"} for n in (3, 1, -2)],
    )  # fmt: skip
    assert {row["response"]: row["weight"] for row in rows(run, "weighed_1")} == {"3": 1.5, "1": 0.5}
    steps = load("list_self_training").steps
    probed = steps["probed_2"].operator
    assert (steps["probed_2"].value, probed.towards) == ("influence", "labeled")  # type: ignore[attr-defined]
    assert steps["student_2"].inputs == ("labeled", "weighed_2")
    adapter = steps["student_2"].operator.adapter  # type: ignore[attr-defined]
    assert adapter.kind == "lora", "the backbone is frozen"
