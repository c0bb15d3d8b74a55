from __future__ import annotations

import pytest

from gristmill.pipelines.run.gate.holm import holm


def rejected(level: float, weights: dict[str, float], **p: float) -> set[str]:
    return set(holm(weights, level, lambda name, at: p[name] <= at)[0])


@pytest.mark.parametrize(
    ("p", "found"),
    [
        ({"a": 0.011, "b": 0.02, "c": 0.5}, {"a", "b"}),
        ({"a": 0.02, "b": 0.02, "c": 0.02}, set()),
        ({"a": 0.01, "b": 0.02, "c": 0.05}, {"a", "b", "c"}),
        ({"a": 0.03, "b": 0.01, "c": 0.02}, {"a", "b", "c"}),
        ({"a": 0.06, "b": 0.5, "c": 0.001}, {"c"}),
    ],
)
def test_the_smallest_is_tested_at_a_share_and_the_next_at_more(p: dict[str, float], found: set[str]) -> None:
    assert rejected(0.05, dict.fromkeys("abc", 1.0), **p) == found


def test_weights_divide_the_level() -> None:
    assert rejected(0.05, {"a": 4.0, "b": 1.0}, a=0.04, b=0.02) == {"a", "b"}
    assert rejected(0.05, {"a": 1.0, "b": 4.0}, a=0.011, b=0.9) == set()
    _, levels = holm({"a": 4.0, "b": 1.0}, 0.05, lambda name, level: False)
    assert levels == pytest.approx({"a": 0.04, "b": 0.01})


def test_the_last_one_left_has_the_whole_level() -> None:
    found, levels = holm({"a": 1.0, "b": 1.0}, 0.05, lambda name, level: name == "a")
    assert (found, levels["b"]) == ({"a"}, 0.05)
