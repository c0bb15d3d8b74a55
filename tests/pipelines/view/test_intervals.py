from __future__ import annotations

from gristmill.pipelines.view.intervals import Interval, intervals


def test_finds_every_mean_with_both_ends_by_dotted_name() -> None:
    summary = {
        "items": 200,
        "gain": {"mean": 0.1, "ci_low": -0.02, "ci_high": 0.22},
        "strict": {"student": {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6}, "note": "x"},
        "half": {"mean": 0.5},
        "broken": {"mean": None, "ci_low": 0.0, "ci_high": 1.0},
    }
    assert list(intervals(summary, "verdict.")) == [
        Interval("verdict.gain", 0.1, -0.02, 0.22),
        Interval("verdict.strict.student", 0.5, 0.4, 0.6),
    ]


def test_a_paired_difference_brings_its_two_scores() -> None:
    gain = {"metric": "strict", "mean": 0.1, "ci_low": 0.02, "ci_high": 0.18}
    summary = {"model": {"strict": 0.4, "fraction": 0.7}, "against": {"strict": 0.3}, "gain": gain}
    assert list(intervals({"verdict": summary})) == [Interval("verdict.gain", 0.1, 0.02, 0.18, 0.3, 0.4)]


def test_a_difference_shows_its_sign() -> None:
    assert str(Interval("verdict.gain", 0.1, -0.02, 0.22)) == "+0.100 [-0.020, +0.220]"
    assert str(Interval("score", 0.1, 0.02, 0.22)) == "0.100 [0.020, 0.220]"
