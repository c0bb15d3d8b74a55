"""The limit of a thought: counted between the markers, its end written for the model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gristmill.pipelines.engines.thought_budget import Thought, ThoughtLimit

OPEN, CLOSE = (90, 91), (92, 93)
LIMIT = ThoughtLimit(3, OPEN, CLOSE)


def written(prompt: Sequence[int], chosen: Sequence[int]) -> list[int]:
    """The answer of a model that would write ``chosen``; what is written for it comes in between."""
    thought, tokens, rest = Thought.after(LIMIT, prompt), list[int](), list(chosen)
    while rest:
        due = thought.due()
        tokens.append(rest.pop(0) if due is None else due)
        thought.add(tokens)
    return tokens


@pytest.mark.parametrize(
    ("prompt", "chosen", "tokens"),
    [
        ([1], [*OPEN, 2, 3, 4, 5, 6], [*OPEN, 2, 3, 4, *CLOSE, 5, 6]),  # the model opens it
        ([1, *OPEN], [2, 3, 4, 5, 6], [2, 3, 4, *CLOSE, 5, 6]),  # the prompt opened it
        ([1, *OPEN, 7], [2, 3, 4, 5], [2, 3, 4, *CLOSE, 5]),
        ([1, *OPEN, 7, *CLOSE], [2, 3, 4, 5, 6], [2, 3, 4, 5, 6]),  # an earlier thought
        ([1], [2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 6, 7]),  # no thought
        ([1], [*OPEN, 2, *CLOSE, 3, 4, 5, 6], [*OPEN, 2, *CLOSE, 3, 4, 5, 6]),  # it ends in time
        ([1, *OPEN], [2, *CLOSE, *OPEN, 3, 4, 5, 6], [2, *CLOSE, *OPEN, 3, 4, 5, *CLOSE, 6]),  # thinks again
    ],
)
def test_a_thought_ends_after_its_tokens(prompt: list[int], chosen: list[int], tokens: list[int]) -> None:
    assert written(prompt, chosen) == tokens
