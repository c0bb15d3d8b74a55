from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from gristmill.filters.calibrate.reliability import raw_reliability, reliability
from gristmill.pipelines.report.calibration import calibration_figures


def test_the_curve_has_a_dot_per_bin_and_says_what_was_measured() -> None:
    confidence = np.repeat([0.15, 0.55, 0.95], 40)
    right = np.concatenate(([True] * 6 + [False] * 34, [True] * 4 + [False] * 36, [True] * 38 + [False] * 2))
    summary = {
        "method": "platt",
        "held_out": 120,
        "before": {"logprob": raw_reliability(confidence * -3, right)},
        "after": reliability(confidence, right),
    }
    step = SimpleNamespace(name="<rated>", summary=summary)
    data: Any = SimpleNamespace(of=lambda verb: [step] if verb == "calibrate" else [])
    (figure,) = calibration_figures(data)
    assert figure.svg.count("<circle") == 3
    # Only the bin whose interval does not hold its confidence stands out.
    assert figure.svg.count('class="dot below"') == 1
    assert "<rated>" not in figure.svg
    assert "logprob (scaled to 0..1) ECE" in figure.caption
    assert "120 held-out labels" in figure.caption
    assert f"After (platt): ECE {0.45 / 3:.3f}" in figure.caption
    data = SimpleNamespace(of=lambda verb: [SimpleNamespace(name="x", summary={})])
    assert calibration_figures(data) == []
