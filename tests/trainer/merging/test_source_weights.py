"""Weights and shares that a merging method cannot take are refused by the plan, and by the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import ModelError, SpecError
from gristmill.pipelines.file.load import loads
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.merging.source_weights import why_not, why_unread

HEAD = """gristmill: 1
name: t
models: {base: {path: smollm2-135m-instruct}, a: {path: ./a}, b: {path: ./b}}
steps:
"""


@pytest.mark.parametrize(
    ("method", "weights", "told"),
    [
        ("soup", [0, 0], "add up to 0"),
        ("soup", [1, -1], "add up to 0"),
        ("soup", [0.1, -0.1], "add up to 0"),
        ("model-stock", [1, 2], "model-stock takes no weights"),
        ("ties", [1], "weights has 1 for 2 models"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_anything_runs(
    method: str, weights: list[float], told: str, tmp_path: Path
) -> None:
    step = f"  m: {{merge: {method}, model: base, students: [a, b], weights: {weights}}}\n"
    with pytest.raises(SpecError, match=told):
        loads(HEAD + step)
    with pytest.raises(ModelError, match=told):
        merge(tmp_path, [tmp_path / "a", tmp_path / "b"], tmp_path / "out", method=method, weights=weights)


def test_numbers_that_are_not_finite_are_refused() -> None:
    assert "finite" in (why_not("ties", [float("nan"), 1], 2) or "")
    assert why_not("ties", [0.5, -2], 2) is None
    assert why_not("soup", None, 2) is None
    for value in (".nan", ".inf"):
        for field in (f"depth_scale: [{value}, 1]", f"weights: [{value}, 1]"):
            with pytest.raises(SpecError, match="finite number"):
                loads(HEAD + f"  m: {{merge: ties, model: base, students: [a, b], {field}}}\n")


@pytest.mark.parametrize(
    ("method", "share", "told"),
    [
        ("soup", "density", "soup does not read it: remove it, or give method ties or dare or breadcrumbs"),
        ("task-arithmetic", "density", "task-arithmetic does not read it"),
        ("model-stock", "outliers", "model-stock does not read it: remove it, or give method breadcrumbs"),
        ("ties", "outliers", "ties does not read it"),
    ],
)
def test_a_share_that_a_method_does_not_read_is_refused(
    method: str, share: str, told: str, tmp_path: Path
) -> None:
    step = f"  m: {{merge: {method}, model: base, students: [a, b], {share}: 0.2}}\n"
    with pytest.raises(SpecError, match=told):
        loads(HEAD + step)
    given: dict[str, Any] = {"method": method, share: 0.2}
    with pytest.raises(ModelError, match=told):
        merge(tmp_path, [tmp_path / "a", tmp_path / "b"], tmp_path / "out", **given)
    assert why_unread("breadcrumbs", {"density": 0.2, "outliers": 0.2}) is None
