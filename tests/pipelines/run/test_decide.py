from __future__ import annotations

import pytest

from gristmill.pipelines.file.spec import LoopSpec
from gristmill.pipelines.run.decide import decide

LOOP = LoopSpec(rounds=2, promote={"student": "base"}, when="verdict.gain.ci_low > 0")


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (0.01, 0.1, "promoted"),
        (-0.02, 0.1, "abstained"),
        (0.0, 0.1, "abstained"),
        (-0.2, -0.1, "kept"),
        (None, None, "abstained"),
        (float("nan"), 0.1, "abstained"),
    ],
)
def test_a_student_is_promoted_only_by_an_interval_above_zero(
    low: float | None, high: float | None, decision: str
) -> None:
    assert decide(LOOP, {"verdict": {"gain": {"mean": 0.0, "ci_low": low, "ci_high": high}}}) == decision


def test_without_a_condition_a_student_is_taken_and_without_a_student_nothing_is_decided() -> None:
    assert decide(LoopSpec(promote={"student": "base"}), {}) == "promoted"
    assert decide(LoopSpec(), {}) == "none"


def test_a_step_name_with_a_dash_is_found() -> None:
    loop = LoopSpec(promote={"student": "base"}, when="the_verdict.gain.ci_low > 0")
    assert decide(loop, {"the-verdict": {"gain": {"ci_low": -1, "ci_high": 1}}}) == "abstained"
