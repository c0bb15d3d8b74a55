"""The recipes that choose or correct rows by what models say of them: CAR, FiFA, CLEAR and Meta Ranking."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.api import Run

Recipe = Callable[..., Run]
Scorer = Callable[..., str]


def column(run: Run, step: str, name: str) -> list[Any]:
    return run[step].to_arrow()[name].to_pylist()


def silent(prompt: Any, seed: int) -> str:
    raise AssertionError(f"nobody is to be asked: {prompt}")


#: Teacher -> the reward and the loss of each of its answers.
TEACHERS = {"huge": (4.0, 1.5), "middle": (3.0, 0.2), "small": (1.0, 0.1)}


def answers_of_teachers() -> list[dict[str, Any]]:
    rows = [
        {"prompt": f"Question {n}?", "response": f"{who} {n}" + " word" * (who == "small"), "by": who}
        for n in range(3)
        for who in TEACHERS
    ]
    # Only one teacher was asked this, and it is easy.
    return [*rows, {"prompt": "Alone?", "response": "huge alone", "by": "huge"}]


def of_teacher(place: int) -> Callable[[str], float]:
    return lambda text: 1000.0 if "alone" in text else TEACHERS[text.split()[0]][place]


def test_car_prefers_a_teacher_that_the_base_model_can_follow(
    recipe: Recipe, scorer: Scorer, exported: Callable[[str], list[dict[str, Any]]]
) -> None:
    models = {"base": scorer(loss=of_teacher(1)), "reward": scorer(reward=of_teacher(0))}
    served = [f"models.{name}={told}" for name, told in models.items()]
    given = answers_of_teachers()
    run = recipe("car", silent, {"teacher": "by"}, *served, model="base", answers=given)
    assert column(run, "car", "by") == ["middle"] * 3
    assert sorted(set(column(run, "weighed", "loss"))) == pytest.approx([0.1, 0.2, 1.5])
    assert column(run, "by_reward", "by") == ["huge"] * 3
    assert "Alone?" not in column(run, "shared", "prompt")
    assert column(run, "longest", "by") == ["small"] * 3
    assert len(column(run, "random", "by")) == 3
    assert [row["response"] for row in exported("dataset")] == ["middle 0", "middle 1", "middle 2"]
    assert {"prompt", "response", "by", "reward", "loss"} < set(exported("dataset")[0])


def test_car_takes_a_rating_that_the_file_has(recipe: Recipe, scorer: Scorer) -> None:
    served = f"models.base={scorer(loss=of_teacher(1))}"
    rated = "steps.rated={compute: {reward: stars - 3}, from: fit}"
    given = [{**row, "stars": of_teacher(0)(row["response"])} for row in answers_of_teachers()]
    with pytest.raises(DataError, match=r"mean of 'worth' is -2\. Rescale"):
        recipe("car", silent, {"teacher": "by"}, served, rated, model="base", answers=given)
    worth = {"teacher": "by", "worth": "1 / (1 + exp(-reward))"}
    run = recipe("car", silent, worth, served, rated, model="base", answers=given)
    assert column(run, "car", "by") == ["middle"] * 3


def quality(prompt: Any, seed: int) -> dict[str, float]:
    """A judge who dislikes what is garbled."""
    assert "Write a request to an assistant." in prompt
    return {"1": 0.9, "2": 0.1} if "qzx" in prompt else {"5": 0.9, "4": 0.1}


SUMS = [f"What is the sum of {n} and {n + 1}?" for n in range(4)]
UNLIKE = "Which museums of Paris are worth a visit?"
ALIKE = "Which museums of Rome are worth seeing?"
GARBLED = "qzx vrrk plof 0x0 zzn"


def test_fifa_adds_margin_quality_and_diversity_up(
    recipe: Recipe, scorer: Scorer, exported: Callable[[str], list[dict[str, Any]]]
) -> None:
    def reward(text: str) -> float:
        return 2.5 if "clearly" in text else 1.5 if "hardly" in text else 2.0 if "good" in text else 1.0

    pairs = [
        {"prompt": prompt, "chosen": f"good {'long ' * place}", "rejected": "bad"}
        for place, prompt in enumerate([*SUMS, UNLIKE, ALIKE, GARBLED])
    ]
    pairs[0]["chosen"] = "clearly good"
    pairs[5]["chosen"] = "hardly good"
    served = f"models.reward={scorer(reward=reward)}"

    def chosen(**weights: float) -> list[str]:
        values = {"rows": 1, "neighbors": 1, **weights}
        run = recipe("fifa", quality, values, served, model="judge", pairs=pairs)
        return column(run, "chosen", "prompt")

    assert chosen(quality=0, diversity=0) == [SUMS[0]]
    assert chosen(quality=0, diversity=9) == [GARBLED]
    assert chosen(quality=99, diversity=9) == [UNLIKE]
    (row,) = exported("dataset")
    total = row["margin"] + 99 * row["quality"] + 9 * row["neighbor_entropy"]
    assert row["importance"] == pytest.approx(total)
    assert row["margin"] == 1.0
    assert row["quality"] == pytest.approx((4.9 - 1) / 4)
    assert [row["prompt"] for row in exported("longest_dataset")] == [GARBLED]
    assert len(exported("random_dataset")) == 1


class Judge:
    """Trusts the answers that say "right", and prefers them; is not sure of "perhaps". It is the student,
    too, which knows one answer of three.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def __call__(self, prompt: str, seed: int) -> str | dict[str, float]:
        if "Rate a response" in prompt:
            self.asked["rated"] += 1
            return {"5": 1.0} if "right" in prompt.split("To rate:")[1] else {"1": 0.9, "2": 0.1}
        if "Compare two responses" in prompt:
            self.asked["compared"] += 1
            first, second = (prompt.split(f"Response {label}:\n")[1].split("\n")[0] for label in "AB")
            new = "A" if "new" in first else "B"
            old = "B" if new == "A" else "A"
            answer = first if new == "A" else second
            if "right" in answer:
                return {new: 0.95, old: 0.05}
            return {new: 0.6, old: 0.4} if "perhaps" in answer else {old: 0.9, new: 0.1}
        self.asked["answered"] += 1
        return {"6?": "new right 6", "7?": "new perhaps 7", "8?": "new wrong 8"}[prompt]


CLEAR = [
    {"prompt": f"{n}?", "response": f"{'right' if n < 6 else 'wrong ' * n} {n}"} for n in (1, 6, 2, 7, 3, 8)
]


def test_clear_filters_and_corrects_only_where_the_judge_is_sure(
    recipe: Recipe, exported: Callable[[str], list[dict[str, Any]]]
) -> None:
    judge = Judge()
    # Another model takes the student's place, so nothing is trained.
    served = "steps.answered.model=judge"
    run = recipe("clear", judge, {}, served, until="dataset", model="judge", data=CLEAR)
    assert column(run, "trusted", "prompt") == ["1?", "2?", "3?"]
    assert judge.asked == {"rated": 6, "answered": 3, "compared": 6}
    made = {row["prompt"]: row for row in exported("dataset")}
    assert {prompt: row["response"] for prompt, row in made.items()} == {
        "1?": "right 1", "2?": "right 2", "3?": "right 3", "6?": "new right 6",
    }  # fmt: skip
    assert made["6?"]["original"] == CLEAR[1]["response"]
    assert made["6?"]["preference"] == pytest.approx(0.95)
    assert made["1?"].get("original") is None


@pytest.mark.parametrize(
    ("step", "prompts"), [("filtered", ["1?", "2?", "3?"]), ("longest_dataset", ["6?", "7?", "8?"])]
)
def test_clear_stops_before_it_trains(
    recipe: Recipe, exported: Callable[[str], list[dict[str, Any]]], step: str, prompts: list[str]
) -> None:
    judge = Judge()
    recipe("clear", judge, {}, until=step, model="judge", data=CLEAR)
    assert sorted(row["prompt"] for row in exported(step)) == prompts
    assert judge.asked == {"rated": 6}


def test_clears_random_pairs_are_as_many_and_do_not_depend_on_the_judge(recipe: Recipe) -> None:
    run = recipe("clear", Judge(), {}, until="random", model="judge", data=CLEAR)
    assert len(column(run, "random", "prompt")) == 3
    assert set(column(run, "random", "confidence")) != {1.0}


def weak(prompt: str, seed: int) -> dict[str, float]:
    """A model that can only see which of two answers has more digits."""
    first, second = (prompt.split(f"--- {label} ---")[1].split("---")[0] for label in "AB")
    digits = [sum(letter.isdigit() for letter in text) for text in (first, second)]
    if digits[0] == digits[1]:
        return {"A": 0.7, "B": 0.3}
    return {"A": 1.0} if digits[0] > digits[1] else {"B": 1.0}


def test_meta_ranking_keeps_what_wins_against_good_references(
    recipe: Recipe, teach: Callable[..., Any]
) -> None:
    known = [("22", True), ("55", True), ("no", False)]
    files = {
        "references": [{"prompt": "Count.", "response": text, "good": good} for text, good in known],
        "held_out": [{"prompt": "Count.", "response": "7"}],
        "pool": [
            {"prompt": "Add.", "response": text} for text in ("none of all these words", "88", "1", "333")
        ],
    }
    # The loop trains the model that judges, so another one, which nobody trains, takes its place.
    judge = {"engine": "openai", "url": teach(weak).url, "model": "weak"}
    models = json.dumps({"base": {"path": "smollm2-135m-instruct"}, "judge": judge})
    others = (f"models={models}", "steps.judged.model=judge")

    def reliable(rows: int, until: str) -> Run:
        values = {"quality": "good", "rows": rows}
        return recipe("meta_ranking", weak, values, *others, until=until, model="base", **files)

    run = reliable(3, "chosen")
    votes = dict(zip(column(run, "judged", "response"), column(run, "judged", "meta_ranking")))
    assert votes == pytest.approx({"none of all these words": -1 / 6, "88": 1 / 3, "1": 0.0, "333": 2 / 3})
    assert column(run, "chosen", "response") == ["88", "333"]
    assert column(reliable(1, "chosen"), "chosen", "response") == ["333"]
    assert column(reliable(1, "longest"), "longest", "response") == ["none of all these words"]
    assert len(column(reliable(1, "random"), "random", "response")) == 1
