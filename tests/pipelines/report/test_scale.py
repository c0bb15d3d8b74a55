from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipelines.report.scale import Scale, number


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_inside_rise_evenly_and_are_few(low: float, span: float) -> None:
    scale = Scale(low, low + span, 0, 100)
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 12
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    assert all(abs(step - steps[0]) <= abs(steps[0]) * 1e-3 for step in steps)


def test_maps_ends_to_ends_and_a_point_to_the_middle() -> None:
    scale = Scale(2.0, 4.0, 100.0, 0.0)
    assert (scale(2.0), scale(4.0), scale(3.0)) == (100.0, 0.0, 50.0)
    assert Scale(1.0, 1.0, 0.0, 10.0)(1.0) == 5.0


def test_round_ticks() -> None:
    assert Scale(0.0, 1.0, 0, 1).ticks(5) == [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]


def test_numbers_read_well() -> None:
    assert [number(each) for each in (0.0, 1200.0, 0.12345, 3.0, 12345.6)] == [
        "0",
        "1,200",
        "0.123",
        "3",
        "12,346",
    ]
