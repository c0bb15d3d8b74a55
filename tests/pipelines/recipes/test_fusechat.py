"""FuseChat-3.0: the best answer of all sources is learnt first, then pairs of answers of one source each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gristmill.pipelines.file.load import load

Exported = Callable[[str], list[dict[str, Any]]]

#: What each source says in turn -> its reward. Each answer of the first is worth more than any of the second.
SAID = {
    "first": {"elegant": 9.0, "graceful": 8.0, "smooth": 7.0},
    "second": {"plain": 3.0, "crude": 1.0, "dull": 2.0},
}
#: The same for problems: the reward likes a wrong solution best, and the second source says 5 each time.
SOLVED = {
    "first": {"I feel that it is 6": 9.0, "5, so the answer is 5": 2.0, "Surely the answer is 5": 4.0},
    "second": {"It is 5": 3.0, "So 5": 2.0, "I count 5": 1.0},
}
REWARDS = {
    text: reward for table in (SAID, SOLVED) for told in table.values() for text, reward in told.items()
}
PROMPTS = [{"prompt": f"Say something about {n}."} for n in range(16)]
PROBLEMS = [{"prompt": f"What is 2 + 3, problem {n}?", "answer": 5 if n < 12 else 50} for n in range(16)]


@pytest.fixture
def fused(recipe: Any, teach: Any, scorer: Callable[..., str]) -> Callable[..., Any]:
    """Runs the recipe with two scripted sources and a scripted reward model."""

    def source(name: str) -> Callable[[str, int], str]:
        asked: dict[str, int] = {}

        def say(prompt: str, seed: int) -> str:
            told = list((SOLVED if "problem" in prompt else SAID)[name])
            asked[prompt] = asked.get(prompt, -1) + 1
            return told[asked[prompt] % len(told)]

        return say

    def run(*others: str, **given: Any) -> Any:
        served = {"engine": "openai", "url": teach(source("second")).url, "model": "said"}
        return recipe(
            "fusechat", source("first"), {"samples": 3}, f"models.second={json.dumps(served)}",
            f"models.reward={scorer(reward=REWARDS.__getitem__)}", *others, model="first", **given,
        )  # fmt: skip

    return run


def test_both_answers_of_a_pair_are_of_one_source_and_the_best_of_all_sources_is_learnt_first(
    fused: Callable[..., Any], exported: Exported
) -> None:
    fused(until="dataset", prompts=PROMPTS)
    pairs = exported("dataset")
    assert {(pair["source"], pair["chosen"], pair["rejected"]) for pair in pairs} == {
        ("first", "elegant", "smooth"),
        ("second", "plain", "crude"),
    }
    paired = {pair["prompt"] for pair in pairs}
    assert len(pairs) == 2 * len(paired)
    learnt = fused(until="best", prompts=PROMPTS)["best"].to_arrow().to_pylist()
    best = {row["prompt"]: row["response"] for row in learnt}
    assert set(best.values()) == {"elegant"}
    assert not paired & set(best)
    assert paired | set(best) == {row["prompt"] for row in PROMPTS}


def test_of_problems_only_right_solutions_are_learnt_and_preferred_to_wrong_ones(
    fused: Callable[..., Any], exported: Exported
) -> None:
    fused(until="dataset", problems=PROBLEMS)
    pairs = exported("dataset")
    assert {(pair["source"], pair["chosen"], pair["rejected"]) for pair in pairs} == {
        ("first", "Surely the answer is 5", "I feel that it is 6")
    }
    best = fused(until="best", problems=PROBLEMS)["best"].to_arrow()
    assert set(best["response"].to_pylist()) == {"Surely the answer is 5"}
    assert len(pairs) + best.num_rows == 12, "each problem that somebody solved, in one stage"


@pytest.mark.engine
def test_the_target_learns_both_stages_in_turn(fused: Callable[..., Any], make_model: Any) -> None:
    model = make_model(max_position_embeddings=1024)
    run = fused(
        f"models.base={{engine: transformers, path: '{model}'}}", prompts=PROMPTS[:6], problems=PROBLEMS[:6]
    )
    learnt = {name: run[name].store.ledger().rows_in for name in ("sft", "student")}
    pairs = sum(run[name].to_arrow().num_rows for name in ("said_pairs", "solved_pairs"))
    assert learnt == {"sft": run["best"].to_arrow().num_rows, "student": pairs}
    assert min(learnt.values()) > 0
    first, second = ((run[name].store.model / "adapter_model.safetensors").read_bytes() for name in learnt)
    assert first != second
    assert load("fusechat").steps["student"].operator.loss == "sigmoid_norm"  # type: ignore[attr-defined]
