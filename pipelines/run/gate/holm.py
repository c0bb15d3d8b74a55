"""Several hypotheses at one error rate: Holm's step-down procedure, with weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def holm(
    weights: Mapping[str, float], level: float, rejects: Callable[[str, float], bool]
) -> tuple[frozenset[str], dict[str, float]]:
    """The rejected hypotheses, and the level at which each hypothesis was tested last.

    ``weights``: each hypothesis' share of the error rate ``level``, relative to the others. ``rejects``: does
    the evidence for a hypothesis suffice at a level? What suffices at one must suffice at every larger one.
    The chance of any false rejection is at most ``level`` (Holm, 1979, "A simple sequentially rejective
    multiple test procedure"). With a group-sequential test of each hypothesis it is the procedure of Ye, Li,
    Liu and Yao (2013, "A group sequential Holm procedure with multiple primary endpoints").
    """
    left, levels = dict(weights), {}
    while left:
        total = sum(left.values())
        levels.update({name: level * weight / total for name, weight in left.items()})
        found = [name for name in left if rejects(name, levels[name])]
        if not found:
            break
        del left[found[0]]
    return frozenset(weights) - frozenset(left), levels
