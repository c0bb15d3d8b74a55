"""Advantages: GRPO's, RLOO's and Dr. GRPO's formulas, and DAPO's overlong penalty."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gristmill.trainer.losses.advantages import EPSILON, advantages, equal_groups, overlong_penalty

#: Rewards of groups of at least two.
GROUPS = st.lists(
    st.lists(st.floats(-3, 3).map(lambda x: round(x, 2)), min_size=2, max_size=6), min_size=1, max_size=4
)


@given(GROUPS, st.randoms())
def test_each_baseline_and_scale_is_its_formula(drawn: list[list[float]], order) -> None:
    flat = [(reward, f"g{number}") for number, own in enumerate(drawn) for reward in own]
    order.shuffle(flat)
    rewards, groups = [reward for reward, _ in flat], [group for _, group in flat]
    everything = torch.tensor(rewards, dtype=torch.float64)
    for baseline in ("group", "rloo", "none"):
        for scale in ("std", "batch", "none"):
            found = advantages(rewards, groups, baseline=baseline, scale=scale)
            for place, (reward, group) in enumerate(flat):
                own = torch.tensor(drawn[int(group[1:])], dtype=torch.float64)
                if baseline == "group":
                    above = reward - own.mean()
                elif baseline == "rloo":
                    above = reward - (own.sum() - reward) / (len(own) - 1)
                else:
                    above = torch.tensor(reward, dtype=torch.float64)
                divisor = {"std": own.std() + EPSILON, "batch": everything.std() + EPSILON, "none": 1.0}
                assert found[place] == pytest.approx(float(above / divisor[scale]), abs=1e-9, rel=1e-6)


def test_a_group_of_one_has_no_advantage() -> None:
    for baseline in ("group", "rloo"):
        for scale in ("std", "none"):
            assert advantages([3.0], ["a"], baseline=baseline, scale=scale) == [0.0]


def test_groups_whose_rewards_are_all_the_same() -> None:
    assert equal_groups([1, 1, 0, 1, 5], ["a", "a", "b", "b", "c"]) == {"a", "c"}


def test_the_overlong_penalty_falls_to_minus_one_at_the_limit() -> None:
    """DAPO, equation 13, with a limit of 20 tokens and a margin of 4."""
    assert [overlong_penalty(tokens, 20, 4) for tokens in (1, 16, 17, 18, 20, 21)] == [
        0.0, 0.0, -0.25, -0.5, -1.0, -1.0,
    ]  # fmt: skip
