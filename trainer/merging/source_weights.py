"""Which weights of the merged models a method takes."""

from __future__ import annotations

import math
from collections.abc import Sequence


def why_not(method: str, weights: Sequence[float] | None, sources: int) -> str | None:
    """Why ``method`` cannot merge ``sources`` models with these ``weights``; None if it can.

    ``weights``: None for 1 each.
    """
    if weights is None:
        return None
    if len(weights) != sources:
        return f"weights has {len(weights)} for {sources} models: give one weight for each"
    if not all(map(math.isfinite, weights)):
        return f"the weights must be finite numbers: found {', '.join(map(str, weights))}"
    if method == "soup" and math.isclose(sum(weights), 0.0, abs_tol=1e-12):
        return "the weights of a soup add up to 0, and it divides by their sum: give a sum above 0"
    if method == "model-stock" and set(weights) != {1.0}:
        return "model-stock takes no weights: the angles between the changes determine them"
    return None
