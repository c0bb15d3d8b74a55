"""Recipes of judges and principles, run completely with scripted models."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from gristmill.pipelines.api import Run
from gristmill.pipelines.file.load import load

Recipe = Callable[..., Run]
Exported = Callable[[str], list[dict[str, Any]]]

#: What each model writes at its first and second answer, and the score that the judge gives to each.
WRITTEN = {"strong": ("superb", "decent"), "weak": ("poor", "awful")}
SCORES = {"superb": 5, "decent": 4, "poor": 2, "awful": 1, "even": 3}


class Writer:
    """Answers each prompt with its words in turn, and remembers the system prompts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.systems: list[str] = []
        self.asked: Counter[str] = Counter()

    def __call__(self, messages: list[dict[str, str]], seed: int) -> str:
        system, user = messages
        self.systems.append(system["content"])
        prompt = user["content"]
        self.asked[prompt] += 1
        word = "even" if "dull" in prompt else WRITTEN[self.name][self.asked[prompt] - 1]
        return f"{word} answer of {self.name}, number {self.asked[prompt]}"


def test_ultrafeedback_pairs_the_best_answer_with_the_worst(
    recipe: Recipe, exported: Exported, teach: Any
) -> None:
    rubric: dict[str, set[str]] = defaultdict(set)
    questions: list[str] = []

    def judge(question: str, seed: int) -> dict[str, float]:
        questions.append(question)
        criterion = re.search(r"Criterion: (\w+)\.", question)[1]  # type: ignore[index]
        answer = question.split("To rate:")[1]
        word = next(each for each in SCORES if each in answer)
        rubric[word].add(criterion)
        score = SCORES[word]
        # A superb answer is not as honest as it could be.
        if (word, criterion) == ("superb", "honesty"):
            return {"4": 0.5, "3": 0.5}
        return {str(score): 1.0}

    strong, weak = Writer("strong"), Writer("weak")
    served = [
        f"models.{writer.name}="
        + json.dumps({"engine": "openai", "url": teach(writer, talk=True).url, "model": "m"})
        for writer in (strong, weak)
    ]
    prompts = [{"prompt": f"Ask {n}?"} for n in range(6)] + [{"prompt": "A dull one?"}]
    run = recipe("ultrafeedback", judge, {}, *served, model="judge", prompts=prompts)

    pairs = {row["prompt"]: row for row in exported("dataset")}
    assert set(pairs) == {row["prompt"] for row in prompts[:6]}
    for pair in pairs.values():
        assert pair["chosen"] == "superb answer of strong, number 1"
        assert pair["rejected"] == "awful answer of weak, number 2"
        assert pair["chosen_score"] == pytest.approx((3 * 1.0 + 2.5 / 4) / 4)
        assert pair["rejected_score"] == 0.0

    answers = exported("answers")
    assert Counter(row["writer"] for row in answers) == {"strong": 14, "weak": 14}
    assert {row["guidance"] for row in answers} == set(strong.systems)
    assert {row["judge_honesty"] for row in answers if "superb" in row["response"]} == {3.5}
    assert rubric["awful"] == {"instruction_following", "truthfulness", "honesty", "helpfulness"}

    # The answers follow a wording of the row's principle, and the judge does not see it.
    cases = load("ultrafeedback").steps["guided"].operator.depending["system"].cases
    wordings = {principle: set(texts) for principle, texts in cases.items()}
    for row in run["guided"].to_arrow().to_pylist():
        assert row["system"] in wordings[row["principle"]]
    assert len(set(strong.systems)) > 1
    assert set(strong.systems) == set(weak.systems)
    assert not [question for question in questions if any(each in question for each in strong.systems)]


CONSTITUTION = ["It must not hurt.", "It must not lie.", "It must be short."]


class Assistant:
    """Answers harmfully, criticizes, revises, and compares as its judge."""

    def __init__(self) -> None:
        self.critiques: dict[str, list[str]] = defaultdict(list)

    def __call__(self, prompt: str, seed: int) -> str | dict[str, float]:
        if "Compare two responses" in prompt:
            return self._compared(prompt)
        principle = re.search(r"A principle for its answers: (.*)", prompt)
        if principle is None:
            return f"harmful: {prompt}"
        request, answer = (
            re.search(rf"{start}:\n(.*)\n", prompt)[1]  # type: ignore[index]
            for start in ("wrote to an assistant", "The assistant answered")
        )
        if "Write the answer again" not in prompt:
            self.critiques[request].append(principle[1])
            return f"{answer} breaks <{principle[1]}>"
        assert f"{answer} breaks <{principle[1]}>" in prompt
        if "mute" in request:
            return "no tags"
        if "stubborn" in request:
            return f"<revision>{answer}</revision>"
        return f"<revision>mild {answer.removeprefix('harmful: ')}</revision>"

    def _compared(self, prompt: str) -> dict[str, float]:
        first = prompt.split("Response A:\n")[1].split("\n")[0]
        mild, harmful = ("A", "B") if first.startswith("mild") else ("B", "A")
        if "torn" in prompt:
            return {mild: 0.55, harmful: 0.45}
        return {harmful: 0.9, mild: 0.1} if "odd" in prompt else {mild: 0.9, harmful: 0.1}


def test_constitutional_revises_by_drawn_principles_and_pairs_where_the_judge_is_sure(
    recipe: Recipe, exported: Exported
) -> None:
    words = ("plain", "mute", "stubborn", "torn", "odd")
    prompts = [{"prompt": f"The {word} one?"} for word in words] + [{"prompt": f"Ask {n}?"} for n in range(9)]
    assistant = Assistant()
    recipe("constitutional", assistant, {"constitution": CONSTITUTION}, prompts=prompts)

    told = {row["messages"][0]["content"]: row["messages"][1]["content"] for row in exported("dataset")}
    assert set(told) == {row["prompt"] for row in prompts} - {"The mute one?"}
    assert told["The plain one?"] == "mild mild The plain one?"
    assert told["The stubborn one?"] == "harmful: The stubborn one?"

    # Two turns, each with a principle of its own draw.
    assert {len(drawn) for request, drawn in assistant.critiques.items() if "mute" not in request} == {2}
    assert {principle for drawn in assistant.critiques.values() for principle in drawn} == set(CONSTITUTION)
    assert any(len(set(drawn)) == 2 for drawn in assistant.critiques.values())

    pairs = {row["prompt"]: row for row in exported("pairs")}
    assert set(pairs) == set(told) - {"The stubborn one?", "The torn one?"}
    assert pairs["The plain one?"]["chosen"] == told["The plain one?"]
    assert pairs["The plain one?"]["rejected"] == "harmful: The plain one?"
    assert pairs["The odd one?"]["chosen"] == "harmful: The odd one?"
    assert pairs["The odd one?"]["preference"] == pytest.approx(0.1)
