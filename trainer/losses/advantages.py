"""Rewards of responses to advantages, within the group of responses to one prompt.

GRPO: Shao et al., DeepSeekMath (arXiv 2402.03300). RLOO: Ahmadian et al., "Back to Basics" (arXiv
2402.14740). Without the standard deviation: Liu et al., Dr. GRPO (arXiv 2503.20783).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Literal, TypeAlias

Baseline: TypeAlias = Literal["group", "rloo", "none"]
Scale: TypeAlias = Literal["std", "batch", "none"]

#: Added to a standard deviation before a division by it, as in TRL.
EPSILON = 1e-4


def advantages(
    rewards: Sequence[float], groups: Sequence[str], *, baseline: Baseline, scale: Scale
) -> list[float]:
    """Return the advantage of each response.

    ``baseline``: what is subtracted from a reward: the mean of its ``group``, the mean of the *other* rewards
    of its group (``rloo``; 0 advantage for a group of one), or nothing. ``scale``: what the difference is
    divided by: the standard deviation of the rewards of its group, or of all of them (``batch``), each with
    n - 1, or nothing.
    """
    members: dict[str, list[float]] = {}
    for reward, group in zip(rewards, groups, strict=True):
        members.setdefault(group, []).append(reward)
    means = {group: fmean(own) for group, own in members.items()}
    spread = {group: _spread(rewards if scale == "batch" else own) for group, own in members.items()}
    found = []
    for reward, group in zip(rewards, groups):
        above = reward if baseline == "none" else reward - means[group]
        if baseline == "rloo":
            others = len(members[group]) - 1
            above = above * (others + 1) / others if others else 0.0
        found.append(above if scale == "none" else above / (spread[group] + EPSILON))
    return found


def equal_groups(rewards: Sequence[float], groups: Sequence[str]) -> set[str]:
    """Return the groups whose rewards are all the same: their advantages are 0."""
    seen: dict[str, set[float]] = {}
    for reward, group in zip(rewards, groups, strict=True):
        seen.setdefault(group, set()).add(reward)
    return {group for group, own in seen.items() if len(own) == 1}


def overlong_penalty(tokens: int, limit: int, margin: int) -> float:
    """Return the soft penalty of a response of ``tokens`` tokens: 0 down to -1.

    It falls linearly over the last ``margin`` tokens before ``limit`` (DAPO, arXiv 2503.14476, equation 13).
    """
    over = tokens - (limit - margin)
    return 0.0 if over <= 0 else -min(1.0, over / margin)


def _spread(rewards: Sequence[float]) -> float:
    return stdev(rewards) if len(rewards) > 1 else 0.0
