"""A step that merges students: what it makes is a whole model, which other steps name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import gristmill
from gristmill.contracts.errors import DataError, GristmillError
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.merging.merge_step import MergeStep

ROWS = [{"prompt": "count " * (n % 4 + 1), "response": "one two three"[: 3 + n]} for n in range(8)]
PIPELINE = """
gristmill: 1
name: merged
models:
  base: {{engine: transformers, path: "{model}", dtype: float32}}
steps:
  rows: {{source: jsonl, path: "{rows}"}}
  left: {{train: sft, from: rows, model: base, adapter: {{rank: 2}}, dtype: fp32, quantize: {quantize}}}
  right: {{train: sft, from: rows, model: base, adapter: {{kind: delta}}, dtype: fp32, quantize: none}}
  merged: {{merge: {merge}, model: base, students: {students}}}
  answers: {{generate: respond, from: rows, model: merged, max_tokens: 4, temperature: 0.0}}
  further: {{train: sft, from: rows, model: merged, adapter: {{rank: 2}}, dtype: fp32}}
"""


@pytest.fixture
def model(make_model: Callable[..., Path]) -> Path:
    return make_model(max_position_embeddings=1024)


def _file(folder: Path, model: Path, merge: str, students: str, quantize: str = "none") -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    file = folder / "merged.yaml"
    said = {"model": model, "rows": folder / "rows.jsonl", "quantize": quantize}
    file.write_text(PIPELINE.format(merge=merge, students=students, **said))
    return file


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.engine
def test_students_are_merged_and_the_model_is_served_and_trained(tmp_path: Path, model: Path) -> None:
    made = gristmill.run(_file(tmp_path, model, "soup", "[left, right]"), tmp_path / "run")
    merged = made["merged"].store.model
    base, found = _weights(model), _weights(merged)
    parts = []
    for student in ("left", "right"):
        merge(model, [made[student].store.model], tmp_path / student)
        parts.append(_weights(tmp_path / student))
    assert any(not torch.equal(found[name], base[name]) for name in base)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, (parts[0][name] + parts[1][name]) / 2, atol=1e-6, rtol=1e-5)
    assert made["answers"].store.ledger().kept == len(ROWS)
    further = json.loads((made["further"].store.model / "adapter_config.json").read_text())
    assert further["base_model_name_or_path"] == str(merged)
    again = gristmill.run(tmp_path / "merged.yaml", tmp_path / "run")
    assert again["merged"].store.model.stat().st_mtime == merged.stat().st_mtime


@pytest.mark.engine
def test_one_adapter_is_merged_into_the_weights_of_its_training(tmp_path: Path, model: Path) -> None:
    made = gristmill.run(_file(tmp_path, model, "task-arithmetic", "[left]", "nf4"), tmp_path / "run")
    merge(model, [made["left"].store.model], tmp_path / "wanted", into="trained")
    found, wanted = _weights(made["merged"].store.model), _weights(tmp_path / "wanted")
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_mistakes_are_found_before_anything_runs(tmp_path: Path, model: Path) -> None:
    file = _file(tmp_path, model, "soups", "[left, nobody]")
    with pytest.raises(GristmillError) as found:
        gristmill.run(file, tmp_path / "run")
    assert "soup" in str(found.value)
    assert "unknown model" in str(found.value)


def test_one_student_may_be_named_alone_and_rows_are_refused() -> None:
    step = MergeStep(model="base", students="left")
    assert step.students == ("left",)
    step.check_inputs([])
    with pytest.raises(DataError, match="takes no rows: remove `from`"):
        step.check_inputs(["rows"])
    with pytest.raises(ValueError, match="finite number"):
        MergeStep(model="base", students="left", weights=[float("nan")])
