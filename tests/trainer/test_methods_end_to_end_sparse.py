"""Sparse policies and further adapters in a whole training: resumption, and the merged model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.loading import load_model

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
DELTA = {"kind": "delta"}
METHODS: dict[str, dict[str, Any]] = {
    "lift": {"adapter": DELTA, "sparse": {"kind": "lift", "every": 2, "lift_rank": 2}},
    "lt_sft": {"adapter": DELTA, "sparse": {"kind": "lt_sft"}},
    "gift_sw": {"adapter": DELTA, "sparse": {"kind": "gift_sw", "density": 0.1}},
    "spiel": {"adapter": DELTA, "sparse": {"kind": "spiel", "every": 2}},
    "miss": {"adapter": {"kind": "miss", "rank": 4}},
    "bone": {"adapter": {"kind": "bone", "rank": 4}},
    "s2ft": {"adapter": {"kind": "s2ft", "s2ft_share": 0.25}},
    "loldu": {"adapter": {"kind": "loldu", "rank": 16}},
    "quanta": {"adapter": {"kind": "quanta"}},
    "dota": {"adapter": {"kind": "dota", "rank": 4, "tensor_axes": 2}},
}


def _step(method: str) -> SupervisedFineTuning:
    return SupervisedFineTuning.model_validate(
        {
            "model": "base", "quantize": "none", "dtype": "fp32", "batch_tokens": 150, "max_length": 128,
            "learning_rate": 1e-2, **METHODS[method],
        }
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_training_resumes_to_the_bit_and_is_merged(
    method: str, make_model, rows, stopping, stopped, digest, tmp_path: Path
) -> None:
    path, step, table = make_model(), _step(method), pa.Table.from_pylist(rows[:10])
    whole = step.fit(table, stopping(tmp_path / "whole", path))
    assert len(whole.history) >= 4
    assert whole.metrics["loss_last"] != whole.metrics["loss_first"]
    with pytest.raises(stopped):
        step.fit(table, stopping(tmp_path / "parts", path, stop_at=3))
    parts = step.fit(table, stopping(tmp_path / "parts", path))
    assert digest(parts) == digest(whole)
    merge(path, [whole.adapter], tmp_path / "merged", into="trained" if method not in SUMS else "original")
    weights = ModelWeights("base", path, "digest", whole.adapter)
    settings = AdapterSettings.model_validate(METHODS[method]["adapter"])
    student = load_adapted(weights, settings, seed=17, dtype=torch.float32, quantize="none")
    merged = load_model(tmp_path / "merged", dtype=torch.float32)
    with torch.no_grad():
        logits, wanted = (each.eval().logits(IDS, [40]) for each in (merged, student))
        base = load_model(path, dtype=torch.float32).logits(IDS, [40])
    torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=1e-4)
    assert (wanted - base).abs().max() > 1e-4


#: Methods whose students are sums of changes, not of the weights that a training held.
SUMS = {"lift", "lt_sft", "gift_sw", "spiel"}
