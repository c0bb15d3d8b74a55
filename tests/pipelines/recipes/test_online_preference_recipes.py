"""The recipes that make preference pairs of the model's own answers, turn by turn, with scripted models."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.pipelines.file.load import load
from gristmill.pipelines.file.locate import recipes

Scorer = Callable[..., str]


def rows(run: Any, step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run[step].to_arrow().to_pylist()
    return found


class Sampler:
    """Says these things in turn, whatever it is asked."""

    def __init__(self, *said: str) -> None:
        self.said, self.asked = said, 0

    def __call__(self, prompt: str, seed: int) -> str:
        self.asked += 1
        return self.said[(self.asked - 1) % len(self.said)]


def by_length(text: str) -> float:
    return float(len(text))


def test_online_dpo_prefers_the_best_of_two_temperatures_and_learns_all_turns_from_the_base(
    recipe: Any, scorer: Scorer
) -> None:
    run = recipe(
        "online_dpo", Sampler("aaa", "a", "aaaaa", "aa"), {"turns": 1, "samples": 2},
        f"models.reward={scorer(reward=by_length)}", until="pairs_1", model="policy",
        prompts=[{"prompt": "Say a."}],
    )  # fmt: skip
    (pair,) = rows(run, "pairs_1")
    assert (pair["chosen"], pair["rejected"]) == ("aaaaa", "a")
    assert len(rows(run, "rated_1")) == 4
    steps = load("online_dpo").steps
    for turn in (1, 2, 3):
        student = steps[f"student_{turn}"]
        assert student.operator.model == "base"  # type: ignore[attr-defined]
        assert student.inputs == (f"pool_{turn}",)
    assert steps["answers_3"].operator.model == "student_2"  # type: ignore[attr-defined]
    assert steps["pool_3"].inputs == ("pool_2", "pairs_3")


def test_online_dpo_asks_other_prompts_in_each_turn(recipe: Any, scorer: Scorer) -> None:
    prompts = [f"Say {n}." for n in range(30)]
    asked = []
    for turn in (1, 2, 3):
        run = recipe(
            "online_dpo", str, {"turns": 3}, f"models.reward={scorer(reward=by_length)}",
            until=f"drawn_{turn}", model="policy", prompts=[{"prompt": prompt} for prompt in prompts],
        )  # fmt: skip
        asked.append({row["prompt"] for row in rows(run, f"drawn_{turn}")})
    assert all(asked)
    assert sum(map(len, asked)) == 30
    assert set.union(*asked) == set(prompts)


def test_selm_rates_its_answers_beside_the_given_ones_and_its_training_is_optimistic(
    recipe: Any, scorer: Scorer
) -> None:
    """Its own answer is the best, the middle or the worst of the three, and the term is always over it."""
    own = {"Say b.": "b" * 9, "Say m.": "mmm", "Say w.": "w"}
    run = recipe(
        "selm", lambda prompt, seed: own[prompt], {"turns": 1},
        f"models.reward={scorer(reward=by_length)}", until="pairs_1", model="policy",
        pairs=[{"prompt": prompt, "chosen": f"{prompt[4]}" * 4, "rejected": f"{prompt[4]}" * 2}
               for prompt in own],
    )  # fmt: skip
    assert {(row["chosen"], row["rejected"], row["sampled"]) for row in rows(run, "pairs_1")} == {
        ("b" * 9, "bb", "b" * 9), ("mmmm", "mm", "mmm"), ("wwww", "w", "w"),
    }  # fmt: skip
    assert len(rows(run, "rated_1")) == 9
    trained = [load("selm").steps[f"student_{turn}"].operator for turn in (1, 2)]
    terms = [(each.optimism, each.optimism_over) for each in trained]  # type: ignore[attr-defined]
    assert terms == [(0.001, "sampled")] * 2
    assert trained[1].model == "student_1", "its reference"  # type: ignore[attr-defined]


def test_the_on_policy_study_changes_one_thing_at_a_time() -> None:
    """Imitation and preference learn the same answers of the same prompts; only the negatives differ."""
    steps = load("on_policy_study").steps
    pairs, best = steps["offline_pairs"], steps["offline_best"]
    assert best.inputs == ("chosen",)
    assert steps["chosen"].inputs == pairs.inputs == ("pairs",)
    assert (pairs.verb, pairs.value, best.value) == ("train", "dpo", "sft")
    for turn, (imitated, preferred) in enumerate((("policy",) * 2, ("online_best_1", "online_pairs_1")), 1):
        assert steps[f"best_answers_{turn}"].operator.model == imitated  # type: ignore[attr-defined]
        assert steps[f"pair_answers_{turn}"].operator.model == preferred  # type: ignore[attr-defined]
    offline = steps["prompts"].operator.rows  # type: ignore[attr-defined]
    online = [steps[f"pair_prompts_{turn}"].operator for turn in (1, 2)]
    assert offline == sum(each.rows for each in online)  # type: ignore[attr-defined]
    compared = {name: (each.operator.model, each.operator.against)  # type: ignore[attr-defined]
                for name, each in steps.items() if each.verb == "evaluate"}  # fmt: skip
    assert compared["negative_gradient"] == ("online_pairs_2", "online_best_2")
    assert compared["on_policy"] == ("online_pairs_2", "offline_pairs")


def test_the_study_imitates_the_better_answer_of_each_pair(recipe: Any) -> None:
    """Of several answers to a prompt without commas, some have a comma."""
    run = recipe(
        "on_policy_study", Sampler("One, two.", "One and two.", "Three, four, five."),
        {"offline": 4, "samples": 3, "kinds": ["no_commas"]},
        "steps.prompts.max_constraints=1", until="chosen", model="policy",
    )  # fmt: skip
    imitated, paired = rows(run, "chosen"), rows(run, "pairs")
    assert len(imitated) == len(paired) > 0
    assert {row["response"] for row in imitated} == {"One and two."}
    assert all("," in row["rejected"] for row in paired)


CALL = {"name": "weather", "arguments": {"city": "Rome", "day": 2}}
REORDERED = {"arguments": {"day": 2, "city": "Rome"}, "name": "weather"}


def test_itool_pairs_the_right_call_with_the_wrong_one_that_is_nearest_to_it(
    recipe: Any, tmp_path: Path
) -> None:
    # In place of the warmed-up student a scripted model is asked.
    text = recipes()["itool"].read_text().replace("\nmodels:\n", "\nmodels:\n  said: {engine: synthetic}\n")
    (tmp_path / "itool.yaml").write_text(text)
    asked: Counter[str] = Counter()
    near = json.dumps({**CALL, "arguments": {"city": "Rome", "day": 3}})
    wrong = ["I cannot.", json.dumps({"name": "time", "arguments": {}}), near, json.dumps(CALL)]

    def said(prompt: str, seed: int) -> str:
        asked[prompt] += 1
        return json.dumps(REORDERED) if prompt == "Known?" else wrong[(asked[prompt] - 1) % 4]

    run = recipe(
        "itool.yaml", said, {"turns": 1, "samples": 3},
        "steps.tried_1.model=said", "steps.searched_1.model=said",
        until="pairs_1", model="said",
        calls=[{"prompt": prompt, "call": json.dumps(CALL), "difficulty": n}
               for n, prompt in enumerate(("Known?", "Missed?"))],
    )  # fmt: skip
    (pair,) = rows(run, "pairs_1")
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ("Missed?", json.dumps(CALL), near)
    assert asked == {"Known?": 1, "Missed?": 4}, "only what is deficient is searched"


@pytest.mark.parametrize(
    ("right", "said", "sound"),
    [
        ({"n": 5}, {"n": "5"}, False),
        ({"x": "true"}, {"x": True}, False),
        ({"x": 1}, {"x": True}, False),
        ({"x": 1, "y": None}, {"x": 1}, False),
        ({"o": {"b": 2, "a": 1}}, {"o": {"a": 1, "b": 2}}, True),
        ({"x": 1}, {"x": 1.0}, True),
    ],
)
def test_itool_compares_arguments_as_json(
    recipe: Any, tmp_path: Path, right: dict[str, Any], said: dict[str, Any], sound: bool
) -> None:
    text = recipes()["itool"].read_text().replace("\nmodels:\n", "\nmodels:\n  said: {engine: synthetic}\n")
    (tmp_path / "itool.yaml").write_text(text)
    calls = [json.dumps({"name": "f", "arguments": arguments}) for arguments in (right, said)]
    run = recipe(
        "itool.yaml", lambda prompt, seed: calls[1] if prompt == "Asked?" else "None.",
        {"turns": 1}, "steps.tried_1.model=said", until="deficient_1", model="said",
        calls=[{"prompt": prompt, "call": calls[0], "difficulty": 1} for prompt in ("Asked?", "Wrong?")],
    )  # fmt: skip
    deficient = {row["prompt"] for row in rows(run, "deficient_1")}
    assert deficient == ({"Wrong?"} if sound else {"Asked?", "Wrong?"})


def test_itool_warms_up_from_easy_to_hard(recipe: Any) -> None:
    given = [{"prompt": f"{n}?", "call": "{}", "difficulty": n} for n in (3, 1, 2)]
    parts = ("easy", "middle", "hard")
    for part, difficulty in zip(parts, (1, 2, 3), strict=True):
        run = recipe("itool", lambda prompt, seed: "{}", {}, until=part, model=None, calls=given)
        assert [row["difficulty"] for row in rows(run, part)] == [difficulty]
    warm = load("itool").steps["warm"]
    assert (warm.inputs, warm.operator.shuffle) == (parts, False)  # type: ignore[attr-defined]
