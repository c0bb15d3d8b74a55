"""The error rates of the gate by simulation, in small: the benchmark has 2,000 rounds of each."""

from __future__ import annotations

import sys
from math import sqrt
from pathlib import Path
from types import ModuleType

import pytest

ROUNDS = 200


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    sys.path.insert(0, str(Path(__file__).parents[4] / "benchmarks"))
    try:
        import gate_simulation
    finally:
        sys.path.pop(0)
    return gate_simulation


def test_a_student_without_a_gain_is_hardly_ever_promoted(simulation: ModuleType) -> None:
    scenario, gate = simulation.SCENARIOS["no effect, nothing to retain"]
    found = simulation.rates(scenario, gate, ROUNDS, seed=1)
    limit = gate.alpha + 3 * sqrt(gate.alpha * (1 - gate.alpha) / ROUNDS)
    assert found["promoted"] <= limit
    assert found["false_claims"] <= limit
    naive = simulation.rates(scenario, gate, ROUNDS, seed=1, at_once=True)
    assert naive["promoted"] > found["promoted"]


def test_a_loss_of_the_margin_is_hardly_ever_promoted(simulation: ModuleType) -> None:
    scenario, gate = simulation.SCENARIOS["a gain, and a loss of just the margin"]
    found = simulation.rates(scenario, gate, ROUNDS, seed=1)
    assert found["promoted"] <= gate.alpha + 3 * sqrt(gate.alpha * (1 - gate.alpha) / ROUNDS)


def test_a_gain_is_promoted_as_often_as_predicted_with_fewer_items(simulation: ModuleType) -> None:
    scenario, gate = simulation.SCENARIOS["a gain of 0.11 and of 0.07"]
    found = simulation.rates(scenario, gate, ROUNDS, seed=1)
    expected = simulation.predicted(scenario, gate)
    assert 0.7 < expected < 0.95
    assert found["promoted"] == pytest.approx(expected, abs=3 * sqrt(expected * (1 - expected) / ROUNDS))
    assert found["items"] < 0.85


def test_shuffled_verdicts_are_not_promoted(simulation: ModuleType) -> None:
    """The same items as of a real gain, each with its two verdicts exchanged by a coin."""
    limit = simulation.GATE.alpha + 3 * sqrt(simulation.GATE.alpha / ROUNDS)
    assert simulation.shuffled(ROUNDS, seed=1) <= limit
