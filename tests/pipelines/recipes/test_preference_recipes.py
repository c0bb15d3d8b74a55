"""The recipes that prefer some of a model's own answers to others: CDR and Quote-Tuning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Exported = Callable[[str], list[dict[str, Any]]]

#: Answer -> minus the log-probability of each of its tokens under the strong and the weak model.
LOSSES = {"sound": (1.0, 1.5), "likely": (0.2, 0.1), "odd": (3.0, 1.0)}


def test_cdr_prefers_what_the_strong_model_finds_likelier_than_the_weak_one(
    recipe: Any, scorer: Callable[..., str], exported: Exported
) -> None:
    served = {
        name: scorer(loss=lambda text, side=side: LOSSES[text][side])  # type: ignore[misc]
        for side, name in enumerate(("strong", "weak"))
    }
    run = recipe(
        "cdr",
        lambda prompt, seed: list(LOSSES)[seed % 3],
        {"samples": 24, "criteria": "Be right."},
        *(f"models.{name}={told}" for name, told in served.items()),
        until="dataset",
        model="policy",
        prompts=[{"prompt": "What now?"}],
    )
    [pair] = exported("dataset")
    assert (pair["chosen"], pair["rejected"]) == ("sound", "odd")
    assert (pair["chosen_score"], pair["rejected_score"]) == pytest.approx((0.5, -2.0))
    assert set(run["judged"].to_arrow()["asked"].to_pylist()) == {"Be right.\n\nWhat now?"}


def test_quote_tuning_prefers_what_the_corpus_says_among_answers_of_like_length(
    recipe: Any, exported: Exported
) -> None:
    fact = "The mill grinds the grain of the whole valley, and the water of the brook drives its wheel. "
    more = "I think that this is all there is to say about it, more or less, is it not so?"
    said = [fact + more, "Mills are nice. " * 12, fact * 12, "No."]

    recipe(
        "quote_tuning",
        lambda prompt, seed: said[seed % len(said)].strip(),
        {"samples": 40},
        until="dataset",
        model="policy",
        prompts=[{"prompt": "What does a mill do?"}],
        corpus=[{"text": fact * 3}],
    )
    [pair] = exported("dataset")
    assert pair["chosen"] == said[0].strip(), "the longest answer quotes more, but no other is as long"
    assert pair["rejected"] == said[1].strip()
    assert pair["rejected_score"] == 0.0
    assert 0.3 < pair["chosen_score"] < 0.6
