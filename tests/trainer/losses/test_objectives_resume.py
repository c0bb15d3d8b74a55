"""Objectives that draw, or look at the start of training: a stopped run goes on to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from gristmill.contracts import registry

#: The objective of a step and its parameters.
STEPS: dict[str, dict[str, Any]] = {
    "mft": {"mask": 0.4, "mask_token": "?"},
    "multitask": {"convergence": 1.0, "focal": 1.0},
    "implicit_reward": {"divergence": "pearson"},
    "asft": {},
    "dpo": {"optimism": 0.1, "optimism_over": "sampled"},
}


@pytest.mark.parametrize("name", STEPS)
def test_a_stopped_and_resumed_training_gives_the_same_bits(
    name: str, make_model, rows, stopping, stopped, digest, tmp_path: Path
) -> None:
    path = make_model()
    table = pa.Table.from_pylist(
        [
            {**row, "task": "ab"[n % 2], "chosen": row["response"], "rejected": "no way", "sampled": "so"}
            for n, row in enumerate(rows[:8])
        ]
    )
    kind = registry.find("train", name)
    assert kind is not None
    small = {"adapter": {"rank": 2}, "dtype": "fp32", "quantize": "none", "epochs": 2, "batch_rows": 3}
    step = kind.model_validate(
        {"model": "base", **small, "learning_rate": 1e-2, "max_length": 128, **STEPS[name]}
    )
    whole = step.fit(table, stopping(tmp_path / "whole", path))
    with pytest.raises(stopped):
        step.fit(table, stopping(tmp_path / "parts", path, stop_at=3))
    torch.rand(5)
    resumed = step.fit(table, stopping(tmp_path / "parts", path))
    assert digest(resumed) == digest(whole)
    assert resumed.history.drop(["seconds"]).equals(whole.history.drop(["seconds"]))
    assert len(whole.history) == 6
