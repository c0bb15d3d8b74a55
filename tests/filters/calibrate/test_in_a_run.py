"""Calibration in a pipeline: labels from a file, a promise about precision, the report, and `--what-if`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gristmill
from gristmill.contracts.errors import GristmillError
from gristmill.pipelines.inspect.what_if import what_if

FILE = """
gristmill: 1
name: rated
seed: 3
steps:
  rows:   {source: jsonl, path: rows.jsonl}
  labels: {source: jsonl, path: labels.jsonl}
  rated:  {calibrate: [score], label: right, labels_from: labels, key: [prompt], from: rows}
  sure:   {keep: "precision >= TARGET", from: rated}
  right:  {keep: "confidence_label IS DISTINCT FROM false", from: sure}
"""


def write(folder: Path, labels: int) -> None:
    rng = np.random.default_rng(5)
    odds = rng.normal(1.0, 2.5, 1500)
    right = rng.random(1500) < 1 / (1 + np.exp(-odds))
    rows = [{"prompt": f"p{i}", "score": float(each)} for i, each in enumerate(odds)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = [{"prompt": f"p{i}", "right": bool(right[i])} for i in range(labels)]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known))


def test_a_pipeline_keeps_what_is_right_with_a_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, 700)
    file = tmp_path / "rated.yaml"
    file.write_text(FILE.replace("TARGET", "0.8"))
    run = gristmill.run(file, tmp_path / "run")
    rated = run["rated"].to_arrow()
    assert rated.num_rows == 1500
    assert rated["confidence_half"].null_count == 800
    sure = run["sure"].to_arrow()
    assert 200 < len(sure) < 1500
    assert min(sure["confidence"].to_pylist()) > max(
        row["confidence"] for row in run["sure"].outcomes().to_pylist() if row["_fate"] == "filtered"
    )
    page = run.report().read_text()
    assert "Reliability of rated" in page
    assert "held-out labels. Before: score (scaled to 0..1) ECE" in page
    assert len(sure) > what_if(run.directory, "sure", "precision >= 0.9").then > 0

    # Known wrong rows are kept by the promise, and dropped after it.
    assert False in sure["confidence_label"].to_pylist()
    right = run["right"].to_arrow()
    assert None in right["confidence_label"].to_pylist()
    assert len(right) == sum(each is not False for each in sure["confidence_label"].to_pylist())

    # Fewer labels than it takes: the run stops with how many would settle it, and calibration is kept.
    file.write_text(FILE.replace("TARGET", "0.999"))
    with pytest.raises(GristmillError, match=r"no cutoff is shown to have a precision of 0.999"):
        gristmill.run(file, tmp_path / "run")
    assert len(gristmill.open_run(tmp_path / "run")["rated"]) == 1500


def test_a_precision_without_calibration_is_found_when_planning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, 1)
    file = tmp_path / "rated.yaml"
    file.write_text(
        FILE.replace("TARGET", "0.8")
        .replace("from: rated", "from: counted")
        .replace("  rated:  {", "  counted: {source: count, rows: 3}\n  rated:  {")
    )
    with pytest.raises(GristmillError, match=r"needs the column 'confidence'.*calibrate"):
        gristmill.run(file, tmp_path / "run")
