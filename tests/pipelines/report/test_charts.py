"""Charts are well-formed XML and show every given value."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipelines.report import charts
from gristmill.pipelines.view.intervals import Interval

THREE = (np.arange(3.0), np.arange(3.0))


def read(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def test_funnel_bar_is_as_wide_as_its_rows() -> None:
    rects = read(charts.funnel_bar({"kept": 50, "filtered": 30, "failed": 20}, 200)).findall("rect")
    assert [float(each.get("width", 0)) for each in rects] == [150.0, 90.0, 60.0]
    assert [float(each.get("x", 0)) for each in rects] == [0.0, 150.0, 240.0]


def test_a_single_failure_among_a_million_is_still_seen() -> None:
    rects = read(charts.funnel_bar({"kept": 999_999, "failed": 1}, 1_000_000)).findall("rect")
    assert float(rects[1].get("width", 0)) > 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.booleans())
def test_histogram_counts_every_row_once(values: list[float], whole: bool) -> None:
    rows = np.round(np.array(values)) if whole else np.array(values)
    svg = read(charts.histogram("score", {"all": rows}, [float(rows[0])]))
    counted = [each.findtext("title") or "" for each in svg.findall("rect")]
    assert sum(int(each.rpartition(": ")[2].split()[0].replace(",", "")) for each in counted) == len(rows)
    assert any((each.text or "").startswith("cut ") for each in svg.findall("text"))


def test_a_threshold_is_drawn_where_its_value_lies() -> None:
    svg = read(charts.histogram("score", {"all": np.linspace(0.0, 10.0, 11) + 0.001}, [5.001]))
    cut = next(each for each in svg.findall("line") if each.get("class") == "threshold")
    middle = (charts.LEFT + charts.WIDTH - charts.RIGHT) / 2
    assert math.isclose(float(cut.get("x1", 0)), middle, abs_tol=1.0)


def test_curve_leaves_out_what_is_not_finite() -> None:
    svg = read(charts.curve("loss", (np.arange(4.0), np.array([2.0, np.nan, 1.0, np.inf])), "step"))
    (path,) = svg.findall("polyline")
    assert len((path.get("points") or "").split()) == 2


def test_a_second_curve_has_a_dot_for_each_measurement_on_the_same_scale() -> None:
    measured = (np.array([0.0, 2.0, 4.0]), np.array([4.0, np.nan, 1.0]))
    svg = read(
        charts.curve("loss", (np.arange(4.0), np.array([3.0, 2.0, 2.0, 2.0])), "step", ("held out", measured))
    )
    dots = svg.findall("circle")
    assert [each.findtext("title") for each in dots] == ["held out 4", "held out 1"]
    assert [float(each.get("cx", 0)) for each in dots] == [charts.LEFT, 940 - charts.RIGHT]
    assert float(dots[0].get("cy", 0)) == charts.TOP  # the highest of both curves
    assert any((each.text or "").endswith("held out 1") for each in svg.findall("text"))


def test_curve_of_nothing_says_so() -> None:
    svg = read(charts.curve("loss", (np.array([]), np.array([])), "step"))
    assert svg.findtext("text") == "nothing was recorded"


def test_whiskers_tell_decided_from_undecided() -> None:
    rows = [Interval("gain", 0.2, 0.1, 0.3), Interval("b", 0.0, -0.1, 0.1), Interval("c", -0.2, -0.3, -0.1)]
    svg = read(charts.whiskers("gains", rows))
    assert [each.get("class") for each in svg.findall("circle")] == ["dot above", "dot open", "dot below"]
    assert any(each.text == "+0.200 [+0.100, +0.300]" for each in svg.findall("text"))


def test_a_narrow_chart_shows_the_same_within_its_width() -> None:
    rows = [
        Interval("gain of a method with a rather long name " * 2, 0.2, 0.1, 0.3),
        Interval("b", 0.0, -0.1, 0.1),
    ]
    values = (np.arange(4.0), np.array([3.0, 2.0, 2.5, 2.0]))
    for draw in (
        lambda width: charts.whiskers("gains", rows, width),
        lambda width: charts.curve("loss", values, "step", None, width),
    ):
        both = read(f"<p>{charts.for_screens(draw)}</p>").findall("div/svg")
        widths = [int((each.get("viewBox") or "").split()[2]) for each in both]
        assert widths == [charts.WIDE, charts.NARROW]
        wide, narrow = ([each.get("class") for each in svg.iter("circle")] for svg in both)
        assert wide == narrow
        assert [bool(each.findall("polyline")) for each in both] in ([True, True], [False, False])
        for each in both[1].iter("text"):
            about = 7.5 * len(each.text or "")
            start = (
                float(each.get("x", 0))
                - {"start": 0, "middle": about / 2, "end": about}[each.get("text-anchor", "")]
            )
            assert start >= -1, each.text
            assert start + about <= charts.NARROW + 1, each.text


def test_names_from_a_run_are_escaped() -> None:
    hostile = '"><script>alert(1)</script>'
    for svg in (
        charts.histogram(hostile, {"all": np.arange(3.0)}),
        charts.curve(hostile, THREE, hostile, (hostile, THREE)),
        charts.whiskers(hostile, [Interval(hostile, 0.0, -1.0, 1.0)]),
    ):
        assert "<script>" not in svg
        read(svg)
