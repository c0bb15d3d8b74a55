"""Learning rate schedules: warm-up, peak and decay."""

from __future__ import annotations

from typing import Any

import pytest

from gristmill.trainer.schedule import learning_rate, rate_in_phases


def _rates(schedule: str, warmup_ratio: float, total: int = 10) -> list[float]:
    return [
        learning_rate(step, total, peak=1.0, schedule=schedule, warmup_ratio=warmup_ratio)  # type: ignore[arg-type]
        for step in range(total)
    ]


def test_warms_up_without_a_step_of_rate_zero() -> None:
    rates = _rates("constant", 0.3)
    assert rates[:3] == [0.25, 0.5, 0.75]
    assert rates[3:] == [1.0] * 7


def test_linear_falls_in_a_line() -> None:
    assert _rates("linear", 0.0) == pytest.approx([1 - step / 10 for step in range(10)])


def test_cosine_is_at_half_height_half_way() -> None:
    rates = _rates("cosine", 0.0)
    assert rates[0] == 1.0
    assert rates[5] == pytest.approx(0.5)
    assert 0 < rates[9] < 0.03
    assert rates == sorted(rates, reverse=True)


def test_each_phase_has_a_schedule_of_its_own() -> None:
    options: dict[str, Any] = {"peak": 1.0, "schedule": "cosine", "warmup_ratio": 0.25}
    rates = [rate_in_phases(step, [4, 6], **options) for step in range(10)]
    apart = [learning_rate(step, total, **options) for total in (4, 6) for step in range(total)]
    assert rates == apart
    assert [rate_in_phases(step, [10], **options) for step in range(10)] != rates
