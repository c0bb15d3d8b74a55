"""How likely a yardstick shows an effect that is there, before any item is evaluated."""

from __future__ import annotations

from .paired import MOST, tango
from .spending import boundaries, crossing


def power(
    wins: float, losses: float, items: int, level: float, *, value: float = 0.0, looks: int = 1
) -> float:
    """The chance that a yardstick of passes and fails shows a mean difference above ``value``.

    ``wins``, ``losses``: the shares of the items that only the student, and only the teacher, passes.
    ``items``: of all ``looks``. ``level``: the one-sided error rate over all looks. By the normal
    approximation of the test that :class:`.paired.Differences` makes.
    """
    shares = tuple(look / looks for look in range(1, looks + 1))
    reached = tango(items * wins, items * losses, items, value)
    if abs(reached) == MOST:
        return float(reached > 0.0)
    # The test's standard error is that under the value to exceed, and the score's own is that of the effect.
    effect = (wins - losses) - value
    tested = (items * effect - 1.0) / (items**0.5 * reached) if reached else wins + losses
    own = max(1e-9, wins + losses - (wins - losses) ** 2) ** 0.5
    bounds = [bound * tested / own for bound in boundaries(level, shares)]
    # Each look's evidence is one item less: the correction for continuity.
    return crossing(bounds, shares, drift=effect * items**0.5 / own, start=-1.0 / (own * items**0.5))
