from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from gristmill.filters.select.transport import SelectTransport, calibrated, transport_potentials


class Quiet:
    def check(self) -> None: ...

    def progress(self, *given: object) -> None: ...


def problem(n: int, m: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((n, m)).astype(np.float32)


def test_the_distance_is_that_of_the_best_assignment() -> None:
    cost = problem(12, 12)
    _, distance = transport_potentials(cost, 0.003, Quiet())  # type: ignore[arg-type]
    rows, columns = linear_sum_assignment(cost)
    assert distance == pytest.approx(cost[rows, columns].mean(), abs=0.01)


def test_a_potential_is_the_gradient_with_respect_to_a_rows_share() -> None:
    cost, regularization, more = problem(6, 9), 0.05, 1e-3

    def distance(weights: np.ndarray) -> float:
        # The entropic dual's value for unequal weights, by its own iteration.
        f, g = np.zeros(6), np.zeros(9)
        kernel = np.exp(-cost.astype(float) / regularization)
        for _ in range(5000):
            f = -regularization * np.log((kernel * np.exp(g / regularization) / 9).sum(axis=1))
            g = -regularization * np.log(
                (kernel * (np.exp(f / regularization) * weights)[:, None]).sum(axis=0)
            )
        return float(weights @ f + g.mean())

    potentials, _ = transport_potentials(cost, regularization, Quiet())  # type: ignore[arg-type]
    equal = np.full(6, 1 / 6)
    for row in range(6):
        moved = np.full(6, (1 - equal[row] - more) / 5)
        moved[row] = equal[row] + more
        slope = (distance(moved) - distance(equal)) / more
        assert calibrated(potentials)[row] == pytest.approx(slope, abs=5e-3)


@pytest.mark.usefixtures("embedder")
def test_rows_that_move_the_pool_towards_the_target_are_kept(context: Any, rows: Any) -> None:
    context.tables["tasks"] = rows(prompt=["museums of Lisbon", "the museums of Porto"])
    pool = rows(
        prompt=[
            "add the numbers of a list",
            "add numbers of the list",
            "museums of Faro",
            "adding lists",
            None,
        ]
    )
    result = SelectTransport(towards="tasks", columns=("prompt",), rows=1).apply(pool, context)
    assert result.kept.tolist() == [False, False, True, False, False]
    assert result.score[2] == np.nanmax(result.score)
    assert 0 < result.summary["transport_distance"] < 1
    assert result.errors is not None
    assert [bool(error) for error in result.errors] == [False] * 4 + [True]


@pytest.mark.usefixtures("embedder")
def test_a_pool_of_one_row_is_kept(context: Any, rows: Any) -> None:
    context.tables["tasks"] = rows(prompt=["museums"])
    result = SelectTransport(towards="tasks", columns=("prompt",), rows=3).apply(rows(prompt=["x"]), context)
    assert result.kept.tolist() == [True]
