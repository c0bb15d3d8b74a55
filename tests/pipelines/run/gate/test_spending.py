"""Boundaries against published ones, and their error rate by drawing."""

from __future__ import annotations

import numpy as np
import pytest

from gristmill.pipelines.run.gate.spending import boundaries, crossing

QUARTERS = (0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("shares", "published"),
    [
        (QUARTERS, (4.3326, 2.9631, 2.3590, 2.0141)),
        ((0.2, 0.4, 0.6, 0.8, 1.0), (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        ((1.0,), (1.9600,)),
    ],
)
def test_the_boundaries_are_those_of_lan_and_demets(
    shares: tuple[float, ...], published: tuple[float, ...]
) -> None:
    assert boundaries(0.025, shares) == pytest.approx(published, abs=2e-3)


def test_the_error_over_all_looks_is_the_level() -> None:
    random = np.random.default_rng(1)
    sums = np.cumsum(random.normal(size=(200_000, 4)) * 0.5, axis=1)
    bounds = boundaries(0.05, QUARTERS)
    crossed = (sums / np.sqrt(QUARTERS) >= bounds).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=0.002)
    assert crossing(bounds, QUARTERS) == pytest.approx(0.05, abs=1e-4)
    drifting = sums + 2.5 * np.array(QUARTERS)
    power = (drifting / np.sqrt(QUARTERS) >= bounds).any(axis=1).mean()
    assert crossing(bounds, QUARTERS, drift=2.5) == pytest.approx(power, abs=0.004)


def test_what_suffices_at_a_level_suffices_at_a_larger_one() -> None:
    """Holm's procedure requires it."""
    for stricter, milder in ((0.01, 0.0125), (0.0125, 0.025), (0.025, 0.05)):
        assert all(a > b for a, b in zip(boundaries(stricter, QUARTERS), boundaries(milder, QUARTERS)))


@pytest.mark.parametrize(
    ("level", "shares"), [(0.0, (1.0,)), (0.05, (0.5,)), (0.05, (0.5, 0.5, 1.0)), (0.05, ())]
)
def test_looks_that_are_none_are_refused(level: float, shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="need"):
        boundaries(level, shares)
