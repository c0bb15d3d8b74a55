"""Which options a merging method takes: weights of the models, and shares of their changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

#: Defaults of the shares of a change, and the methods that read them.
DENSITY, OUTLIERS = 0.5, 0.01
SHARES: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "density": (DENSITY, ("ties", "dare", "breadcrumbs")),
    "outliers": (OUTLIERS, ("breadcrumbs",)),
}


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


def why_unread(method: str, shares: Mapping[str, float]) -> str | None:
    """Why ``method`` does not go with these ``shares`` of a change, by name; None if it does."""
    for name, (default, readers) in SHARES.items():
        if method not in readers and shares[name] != default:
            return (
                f"{name} = {shares[name]}: {method} does not read it: remove it, or give method "
                f"{' or '.join(readers)}"
            )
    return None
