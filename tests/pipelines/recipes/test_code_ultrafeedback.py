"""CodeUltraFeedback: pairs by the rubric of one preference, a student, and the rating of its answers."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from gristmill.pipelines.api import Run
from gristmill.pipelines.file.load import load

Exported = Callable[[str], list[dict[str, Any]]]

PREFERENCES = {"following", "explanation", "efficiency", "readability", "style"}
#: What a model writes in its first and its second answer, and what the judge thinks of it.
WRITTEN = {"strong": ("superb", "decent"), "weak": ("poor", "awful")}
SCORES = {"superb": 5, "decent": 4, "poor": 2, "awful": 1}
TASKS = [{"prompt": f"Write a function that adds {n} to a number."} for n in range(40)]


class Writer:
    """Answers a task with its words in turn, and remembers the system prompt of each request."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.systems: dict[str, str] = {}
        self.asked: Counter[str] = Counter()

    def __call__(self, messages: list[dict[str, str]], seed: int) -> str:
        system, user = messages
        self.systems[user["content"]] = system["content"]
        self.asked[user["content"]] += 1
        turn = self.asked[user["content"]]
        return f"{WRITTEN[self.name][min(turn, 2) - 1]} code of {self.name}"


class Judge:
    """Rates by the word that an answer begins with, and remembers what it was asked about each task."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.rubrics: dict[str, set[str]] = defaultdict(set)

    def __call__(self, question: str, seed: int) -> dict[str, float]:
        self.questions.append(question)
        rated = question.split("To rate:")[1]
        task = re.search(r"Write a function that adds \d+ to a number\.", rated)[0]  # type: ignore[index]
        self.rubrics[task].add(re.search(r"Criterion: (\w+)\.", question)[1])  # type: ignore[index]
        answer = rated.split("Response:")[-1]
        word = next((each for each in SCORES if each in answer), None)
        return {str(SCORES[word]) if word else "3": 1.0}


@pytest.fixture
def whole(recipe: Callable[..., Run], teach: Any) -> Callable[..., tuple[Run, Judge, dict[str, Writer]]]:
    """Runs the recipe with scripted models; the student's and the base's answers are scripted, too."""

    def run(*others: str, until: str | None = None) -> tuple[Run, Judge, dict[str, Writer]]:
        judge, writers = Judge(), {name: Writer(name) for name in WRITTEN}
        served = [
            f"models.{name}="
            + json.dumps({"engine": "openai", "url": teach(writer, talk=True).url, "model": "m"})
            for name, writer in writers.items()
        ]
        lessons = [{"prompt": f"Name the capital of country {n}.", "response": "A town."} for n in range(6)]
        lessons += [{**TASKS[3], "response": "copied"}]
        made = recipe("code_ultrafeedback", judge, {"held_out": 4}, *served, *others, until=until,
                      model="judge", prompts=TASKS, lessons=lessons)  # fmt: skip
        return made, judge, writers

    return run


def test_the_best_answer_by_the_rubric_of_its_preference_is_chosen_over_the_worst(
    whole: Callable[..., Any], exported: Exported
) -> None:
    run, judge, writers = whole(until="dataset")
    pairs = {row["prompt"]: row for row in exported("dataset")}
    preference = {row["prompt"]: row["preference"] for row in run["aimed"].to_arrow().to_pylist()}
    assert set(preference.values()) == PREFERENCES
    assert 20 < len(pairs) < 40
    for prompt, pair in pairs.items():
        assert (pair["chosen"], pair["rejected"]) == ("superb code of strong", "awful code of weak")
        assert (pair["chosen_score"], pair["rejected_score"]) == (1.0, 0.0)
        assert judge.rubrics[prompt] == {preference[prompt]} == {pair["preference"]}

    aimed: Any = load("code_ultrafeedback").steps["aimed"].operator
    cases = aimed.depending["system"].cases
    assert set(cases) == PREFERENCES
    for writer in writers.values():
        assert all(told in cases[preference[prompt]] for prompt, told in writer.systems.items())
    wordings = {told for texts in cases.values() for told in texts}
    assert not [question for question in judge.questions if any(each in question for each in wordings)]


@pytest.mark.engine
def test_the_student_learns_other_lessons_then_the_pairs_and_is_rated_beside_a_reference(
    whole: Callable[..., Any], exported: Exported, make_model: Any
) -> None:
    model = make_model(max_position_embeddings=1024)
    run, judge, writers = whole(
        f"models.base={{engine: transformers, path: '{model}', max_model_len: 512}}", "vars.max_tokens=4"
    )
    learnt = {row["prompt"] for row in run["others"].to_arrow().to_pylist()}
    assert learnt == {f"Name the capital of country {n}." for n in range(6)}, (
        "an instruction of the pairs goes"
    )
    held = {row["prompt"] for row in run["held_out"].to_arrow().to_pylist()}
    paired = {row["prompt"] for row in run["pairs"].to_arrow().to_pylist()}
    assert held
    assert held | paired == {task["prompt"] for task in TASKS}
    assert not held & paired
    assert writers["weak"].asked.keys() == paired, "the held-out ones have a reference alone"
    first, second = ((run[name].store.model / "adapter_model.safetensors").read_bytes()
                     for name in ("sft", "student"))  # fmt: skip
    assert first != second

    ratings = exported("ratings")
    assert Counter(row["prompt"] for row in ratings) == dict.fromkeys(held, 2)
    assert {row["writer"] for row in ratings} == {"student", "base"}
    for row in ratings:
        assert row["reference"] == "superb code of strong"
        assert row["group_rows"] == sum(
            (each["writer"], each["preference"]) == (row["writer"], row["preference"]) for each in ratings
        )
        told = [question.split("To rate:")[1] for question in judge.questions if row["prompt"] in question]
        assert told
        assert all("superb code of strong" in each for each in told)
        assert judge.rubrics[row["prompt"]] == {row["preference"]}
