"""Instructions from an open model: the best of three ways stays, is revised and passes a threshold."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

Exported = Callable[[str], list[dict[str, Any]]]

#: What is asked for in each way, by a phrase of its request, and how good its instructions are.
WAYS = {
    "subject, in its verb": "sorting",
    "all about these topics": "sailing",
    "that this text answers": "bees",
}
WORDS = ("amber", "basalt", "cedar", "dahlia", "ebony", "fjord", "garnet", "hazel")


class Open:
    """Writes two instructions a request, one of which it can revise for the better, and answers all."""

    def __init__(self) -> None:
        self.requests: dict[str, int] = defaultdict(int)
        self.answers: dict[str, int] = defaultdict(int)

    def __call__(self, prompt: str, seed: int) -> str:
        way = next((subject for phrase, subject in WAYS.items() if phrase in prompt), None)
        if way is not None:
            word = WORDS[self.requests[way]]
            self.requests[way] += 1
            return f"1. Describe {way} with {word} to a friend.\n2. Invent a {word} puzzle of {way}."
        if "rough draft" in prompt:
            draft = re.search(r"<draft>\n(.*)\n</draft>", prompt)[1]  # type: ignore[index]
            return f"<task>Please: {draft}</task>"
        self.answers[prompt] += 1
        return f"answer {self.answers[prompt]}"


def rate(question: str, seed: int) -> dict[str, float]:
    """Topics are the best way. A revised puzzle's second answer is better, a revised description is worse."""
    told = question.split("To rate:")[1]
    revised = "Please:" in told
    if "sailing" not in told:
        return {"2": 1.0}
    if "puzzle" in told:
        return {"5": 1.0} if revised and "answer 2" in told else {"3": 1.0}
    return {"1": 1.0} if revised else {"2": 1.0} if "amber" in told else {"4": 1.0}


def test_the_best_way_stays_its_instructions_are_revised_where_that_helps_and_the_poor_ones_go(
    recipe: Any, exported: Exported, teach: Any
) -> None:
    writer = Open()
    judge = {"engine": "openai", "url": teach(rate).url, "model": "m"}
    # Without the embedder, which is not the matter here.
    ways = ["after_examples", "about_topics", "about_texts"]
    distinct = {"dedup": "exact", "columns": ["prompt"], "from": ways}
    run = recipe(
        "open_instructions",
        writer,
        {"requests": 4, "samples": 2, "least": 0.6},
        f"models.judge={json.dumps(judge)}",
        f"steps.unique={json.dumps(distinct)}",
        model="open",
    )
    assert set(writer.requests.values()) == {4}, "each way has as many requests"
    compared = run["compared"].to_arrow().to_pylist()
    assert {row["way"] for row in compared} == {"examples", "topics", "texts"}
    assert {row["way"] for row in run["best"].to_arrow().to_pylist()} == {"topics"}

    told = {row["messages"][0]["content"]: row for row in exported("dataset")}
    puzzles = {f"Please: Invent a {word} puzzle of sailing." for word in WORDS[:4]}
    plain = {f"Describe sailing with {word} to a friend." for word in WORDS[1:4]}
    assert set(told) == puzzles | plain, "the description with amber is below the threshold"
    assert {told[prompt]["messages"][1]["content"] for prompt in puzzles} == {"answer 2"}
    assert {told[prompt]["judge"] for prompt in puzzles} == {1.0}
    assert {told[prompt]["judge"] for prompt in plain} == {0.75}
    assert {row["way"] for row in told.values()} == {"topics"}
