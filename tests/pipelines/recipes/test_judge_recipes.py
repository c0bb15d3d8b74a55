"""Recipes of judges and principles, run completely with scripted models."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from gristmill.datagen.constraints.kinds import constraints_from
from gristmill.datagen.constraints.verdicts import judge
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

    def rate(question: str, seed: int) -> dict[str, float]:
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
    run = recipe("ultrafeedback", rate, {}, *served, model="judge", prompts=prompts)

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


TEXTS = [
    "Rivers carry sediment downhill and deposit it where the current slackens. Floodplains grow like this.",
    "Bakeries begin before midnight.\n\nSourdough needs patience, temperature and a little attention!",
    "Telescopes gather light. Astronomers measure it.\n \nSpectra reveal chemical elements in distant stars.",
    "Wrongly described text about something else entirely, which nobody should reconstruct from anything.",
]


class Reconstructor:
    """Reads attributes off texts, one wrongly; its first answer keeps all of them and its second none."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def __call__(self, prompt: str, seed: int) -> str | dict[str, float]:
        if "Describe this text by four attributes" in prompt:
            word = prompt.split()[0]
            return json.dumps({"topic": word, "tone": f"as {word}", "reader": f"of {word}", "form": "note"})
        if "Criterion: attributes" in prompt:
            told = prompt.split("To rate:")[1]
            return {"1": 1.0} if "topic: Wrongly" in told or "nothing!" in told else {"5": 1.0}
        self.asked[prompt] += 1
        if self.asked[prompt] == 2:
            return "nothing!"
        asked = re.search(r"Write (\d+) to \d+ words in (one|\d+) paragraph", prompt)
        assert asked is not None
        least, blocks = asked[1], asked[2].replace("one", "1")
        needed = re.search(r" Use: ([^.]*)\.", prompt)[1].split(", ")  # type: ignore[index]
        return "\n\n".join(["word"] * (int(blocks) - 1) + [" ".join([*needed, *["word"] * int(least)])])


def test_ultragen_reconstructs_texts_and_pairs_by_what_is_kept(recipe: Recipe, exported: Exported) -> None:
    run = recipe("ultragen", Reconstructor(), {"samples": 2}, texts=[{"text": text} for text in TEXTS])

    specified = run["specified"].to_arrow().to_pylist()
    assert [row["text"] for row in specified] == TEXTS[:3]  # the attributes of the fourth were erroneous
    for row in specified:
        checks = constraints_from(row["constraints"])
        assert judge(checks, row["text"], "").strict == [True] * len(checks)
        assert {check.kind for check in checks} >= {"word_range", "paragraph_count", "keywords"}
        assert ("no_exclamation" in {check.kind for check in checks}) == ("!" not in row["text"])

    told = {
        row["messages"][1]["content"]: row["messages"][0]["content"] for row in exported("reconstruction")
    }
    assert set(told) == set(TEXTS[:3])
    assert "- topic: Bakeries" in told[TEXTS[1]]
    assert "in 2 paragraphs, blank lines between." in told[TEXTS[1]]
    assert "in one paragraph." in told[TEXTS[0]]

    # The soft attributes are another text's.
    for row in run["global"].to_arrow().to_pylist():
        topic = re.search(r"topic: (\w+)", row["prompt"])[1]  # type: ignore[index]
        assert topic in {"Rivers", "Bakeries", "Telescopes"} - {row["text"].split()[0]}

    pairs = exported("dataset")
    assert len(pairs) == 3
    for pair in pairs:
        assert pair["rejected"] == "nothing!"
        assert pair["chosen_score"] == 1.0
        assert pair["rejected_score"] < 0.4


def test_syne_mixes_texts_with_questions_by_subject(recipe: Recipe, exported: Exported) -> None:
    subjects = {
        "Bees": "biology",
        "Ants": "Biology",
        "Atoms": "physics",
        "Gossip": "none",
        "Stars": "astrology",
    }
    asked: Counter[str] = Counter()

    def teacher(prompt: str, seed: int) -> str | dict[str, float]:
        if "To which of these subjects" in prompt:
            assert "biology, physics?" in prompt
            return f"<subject>{subjects[prompt.split()[0]]}</subject>"
        if "Criterion: right" in prompt:
            return {"1": 1.0} if "about Ants" in prompt else {"5": 1.0}
        word = prompt.split()[0]
        asked[word] += 1
        kind = "Case" if "in a case that" in prompt else "Why"
        if word == "Atoms" and asked[word] == 1:
            return "<question>What does this text say?</question><answer>By reason.</answer>"
        if word == "Atoms" and asked[word] == 2:
            return "<question>Why?</question><answer>The passage gives no reason.</answer>"
        return f"<question>{kind} {asked[word]} about {word}?</question><answer>By reason.</answer>"

    texts = [{"text": f"{word} are many."} for word in subjects]
    variables = {"subjects": "biology, physics", "questions": 12, "most": 7}
    recipe("syne", teacher, variables, texts=texts)

    rows = exported("dataset")
    assert [row["text"] for row in rows if row["origin"] == "text"] == [row["text"] for row in texts]
    made = [row for row in rows if row["origin"] == "question"]
    assert Counter(row["subject"] for row in made) == {"biology": 7, "physics": 7}
    assert set(asked) == {"Bees", "Ants", "Atoms"}
    assert not [row for row in made if re.search("Ants|text|passage", row["text"])]
    forms = [
        re.fullmatch(r"Question: (Why|Case) \d+ about \w+\?\n\nAnswer: By reason\.", row["text"])
        for row in made
    ]
    assert {form[1] for form in forms if form} == {"Why", "Case"}
    assert all(forms)
