"""Examples of which some values are others, and examples that are derived from others."""

from __future__ import annotations

from dataclasses import replace

from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.lazy_examples import Changed, Made, ids_of, longest_of, rows_of, tokens_of


def test_changed_examples_have_the_other_values_in_their_order() -> None:
    three = [
        Example(name, (TokenSequence((1,) * size, (True,) * size),), row=size)
        for name, size in zip("abc", (2, 3, 4))
    ]
    found = Changed(three, {"value": [7.0, 8.0]}, places=[2, 0])
    assert [(each.id, each.value, each.tokens) for each in found] == [("c", 7.0, 4), ("a", 8.0, 2)]
    assert (tokens_of(found), longest_of(found), ids_of(found)) == ([4, 2], 4, ["c", "a"])
    assert rows_of(found) == rows_of(Made(found, lambda example: example)) == [4, 2]


def test_made_examples_are_made_when_they_are_read_and_know_their_sizes() -> None:
    asked = []

    def doubled(example: Example) -> Example:
        asked.append(example.id)
        return replace(example, sequences=example.sequences * 2)

    found = Made(
        [Example(name, (TokenSequence((1,) * size, (True,) * size),)) for name, size in zip("ab", (2, 3))],
        doubled,
    )
    assert (tokens_of(found), longest_of(found), ids_of(found)) == ([4, 6], 3, ["a", "b"])
    asked.clear()
    assert [each.tokens for each in found[1:]] == [6]
    assert asked == ["b"]
