"""IterSelectTune's recipe with a scripted judge and the real embedder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gristmill.pipelines.api import Run


def test_the_judge_rates_where_the_prediction_is_high_and_its_ratings_are_learned(
    recipe: Callable[..., Run],
) -> None:
    cities = ["Lisbon", "Paris", "Rome", "Vienna", "Oslo", "Prague", "Athens", "Dublin", "Madrid", "Berlin"]
    texts = [f"What is the sum of {n} and {n * 7}?" for n in range(20)]
    texts += [f"What is the product of {n} and {n * 3}?" for n in range(20)]
    texts += [f"Plan a weekend in {city} {when}." for city in cities for when in ("in May", "by train")]
    rows = [{"prompt": text, "response": "A long enough answer."} for text in texts]

    def judge(question: str, seed: int) -> dict[str, float]:
        return {"5": 0.9, "1": 0.1} if "the sum of" in question else {"1": 0.8, "5": 0.2}

    run = recipe("iter_select_tune", judge, {"rows": 10, "judged": 15, "turns": 2}, pool=rows)

    def of(step: str) -> dict[str, Any]:
        return {row["prompt"]: row for row in run[step].to_arrow().to_pylist()}

    first, second, predicted = of("judged_1"), of("judged_2"), of("predicted_1")
    assert len(first) == len(second) == 15
    assert len({text.split()[3] for text in first}) > 1
    unseen = sorted(predicted.keys() - first.keys(), key=lambda text: -predicted[text]["predicted"])
    assert set(second) == set(unseen[:15])
    known = of("known_2")
    assert len(known) == 60
    assert {text for text, row in known.items() if row["judge"] is not None} == {*first, *second}
    rated, chosen = of("rated"), of("chosen")
    for row in rated.values():
        assert row["rating"] == (row["predicted"] if row["judge"] is None else row["judge"])
    assert set(chosen) == set(sorted(rated, key=lambda text: -rated[text]["rating"])[:10])
    assert all("the sum of" in text for text in chosen)
    assert len(of("random")) == len(of("longest")) == 10
