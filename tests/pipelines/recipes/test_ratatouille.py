"""Model Ratatouille: trainings on the target begin with auxiliary students; the result is their mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import gristmill
from gristmill.contracts.errors import GristmillError
from gristmill.pipelines.view.silent import SilentView
from gristmill.trainer.merging.merge import merge


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def test_the_mean_is_of_students_that_went_on_from_auxiliary_ones(
    tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    """With almost no learning on the target, its students are still those of the auxiliary tasks."""
    model = make_model(max_position_embeddings=1024)
    overrides = [
        f"models.base={json.dumps({'engine': 'transformers', 'path': str(model), 'dtype': 'float32'})}",
        "vars.learning_rate=1e-12",
        "vars.auxiliary_rate=0.01",
    ]
    for name in ("target", "first", "second"):
        rows = [{"prompt": f"{name} {n}", "response": f"say {name}"} for n in range(4)]
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        overrides.append(f"vars.{name}={tmp_path / name}.jsonl")
    run = gristmill.run("ratatouille", tmp_path / "run", overrides=overrides, observer=SilentView(sys.stderr))
    made = {name: run[name].store.model for name in ("first", "second", "alone", "mean")}
    begun = {name: run[f"after_{name}"].store.model for name in ("first", "second")}
    first, second = _tensors(made["first"]), _tensors(made["second"])
    assert any((first[name] - second[name]).abs().max() > 1e-3 for name in first)
    for name, auxiliary in (("first", first), ("second", second)):
        for key, tensor in _tensors(begun[name]).items():
            torch.testing.assert_close(tensor, auxiliary[key], atol=1e-6, rtol=1e-6)
    merge(model, [made["alone"], *begun.values()], tmp_path / "wanted", method="soup")
    wanted, found = _tensors(tmp_path / "wanted"), _tensors(made["mean"])
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    base = _tensors(model)
    assert any(not torch.equal(found[name], base[name]) for name in base)


@pytest.mark.parametrize("missing", ["first"])
def test_the_rows_of_every_task_are_asked_for(missing: str, tmp_path: Path) -> None:
    with pytest.raises(GristmillError, match=missing):
        gristmill.run("ratatouille", tmp_path / "run", overrides=["vars.target=a.jsonl"])
