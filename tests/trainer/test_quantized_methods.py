"""Each quantized method trains on ten rows, resumes to the bit, fits its plan, and is merged to be served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from gristmill.contracts.inference import ModelWeights
from gristmill.contracts.training import Trained
from gristmill.kernels import halo
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.methods.distill import Distillation
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.loading import load_model

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
LORA = {"rank": 4, "alpha": 8}
METHODS: dict[str, dict[str, Any]] = {
    "int2": {"quantize": "int2", "adapter": {**LORA, "init": "loftq"}},
    "halo": {"quantize": "halo", "adapter": LORA},
    "owq": {"quantize": "int4", "adapter": {"kind": "weak_columns", "init": "owq", "rank": 4}},
    "qeft": {"quantize": "int4", "adapter": {"kind": "weak_columns", "init": "qeft", "rank": 4}},
    "qft": {"quantize": "int8", "adapter": {"kind": "qft"}, "optimizer": "qft", "learning_rate": 2e-3},
    "pv": {"quantize": "int2", "adapter": {"kind": "pv"}, "sparse": {"kind": "pv", "every": 2}},
    "l4q": {"quantize": "none", "adapter": {"kind": "l4q", "l4q_group": 16, **LORA}},
    "dsee": {"quantize": "nf4", "adapter": {"kind": "dsee", "dsee_entries": 16, **LORA}},
    "welore": {"quantize": "none", "adapter": {"kind": "welore", "init": "welore", "welore_keep": 0.3}},
}
#: Methods whose student is continued from its own files, over the base that its training held.
CONTINUED = {"l4q", "dsee", "welore", "qft", "pv"}
Fit = Callable[..., Trained]


@pytest.fixture
def path(make_model) -> Path:
    found: Path = make_model(hidden_size=64, intermediate_size=128)
    return found


@pytest.fixture
def fit(path: Path, rows, stopping, tmp_path: Path) -> Fit:
    """Train on ten rows in a directory of ``tmp_path``; ``stop_at``: number of steps to stop after."""
    table = pa.Table.from_pylist(rows[:10])

    def run(name: str, stop_at: int | None = None, student: Path | None = None, **changes: Any) -> Trained:
        shape = {"batch_tokens": 150, "max_length": 128, "pack_tokens": 128, "learning_rate": 1e-2}
        step = SupervisedFineTuning.model_validate({"model": "base", "dtype": "fp32", **shape, **changes})
        return step.fit(table, stopping(tmp_path / name, path, student, stop_at=stop_at))

    return run


@pytest.mark.parametrize("method", METHODS)
def test_ten_rows_train_resume_to_the_bit_and_are_merged(
    method: str, path: Path, fit: Fit, digest, stopped, tmp_path: Path
) -> None:
    whole = fit("whole", **METHODS[method], epochs=2)
    assert whole.metrics["steps"] >= 6
    assert whole.metrics["loss_last"] < whole.metrics["loss_first"]
    assert whole.metrics["peak_memory_mib"] <= 1.25 * whole.metrics["predicted_memory_mib"]
    with pytest.raises(stopped):
        fit("part", stop_at=3, **METHODS[method], epochs=2)
    torch.rand(3)
    assert digest(fit("part", **METHODS[method], epochs=2)) == digest(whole)
    merge(path, [whole.adapter], tmp_path / "merged", into="trained")
    base, merged = (load_model(each, dtype=torch.float32) for each in (path, tmp_path / "merged"))
    with torch.no_grad():
        found = merged.logits(IDS, [40])
        assert (found - base.logits(IDS, [40])).abs().max() > 1e-4
    if method in CONTINUED:
        settings = AdapterSettings.model_validate(METHODS[method]["adapter"])
        weights = ModelWeights("base", path, "digest", whole.adapter)
        quantize = METHODS[method]["quantize"]
        student = load_adapted(weights, settings, seed=17, dtype=torch.float32, quantize=quantize)
        with torch.no_grad():
            torch.testing.assert_close(student.eval().logits(IDS, [40]), found, atol=1e-4, rtol=1e-4)


def test_a_graft_keeps_exactly_a_share_of_a_students_changes(
    fit: Fit, digest, stopped, path: Path, tmp_path: Path
) -> None:
    student = fit("student", quantize="none", adapter={"kind": "delta"}).adapter
    settings = {"quantize": "none", "adapter": {"kind": "delta"}, "optimizer": "lion"}
    settings |= {"sparse": {"kind": "graft", "density": 0.02}, "epochs": 2}
    whole = fit("whole", student=student, **settings)
    assert whole.metrics["changed_weights"] == int(0.02 * whole.metrics["trainable_parameters"])
    with pytest.raises(stopped):
        fit("part", stop_at=3, student=student, **settings)
    assert digest(fit("part", student=student, **settings)) == digest(whole)
    merge(path, [whole.adapter], tmp_path / "merged")


def test_halo_multiplies_integers_in_both_passes(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []
    for name in ("times", "back"):
        plain = getattr(halo.HALOTensor, name)

        def noted(self: Any, *given: Any, plain: Any = plain, name: str = name) -> Any:
            passes.append(name)
            return plain(self, *given)

        monkeypatch.setattr(halo.HALOTensor, name, noted)
    fit("whole", **METHODS["halo"], max_steps=1)
    assert {"times", "back"} == set(passes)


def test_a_low_rank_correction_brings_two_bits_nearer_to_the_original(
    path: Path, rows, stopping, tmp_path: Path
) -> None:
    """INT2.1: LoRA over 2 bits, trained on the outputs of the model itself before it was quantized."""
    step = Distillation.model_validate(
        {"model": "base", "teacher": "base", "quantize": "int2", "dtype": "fp32", "epochs": 12,
         "max_length": 128, "batch_tokens": 150, "learning_rate": 1e-2, "adapter": LORA}
    )  # fmt: skip
    trained = step.fit(pa.Table.from_pylist(rows[:10]), stopping(tmp_path / "corrected", path))
    assert 0 < trained.metrics["loss_last"] < 0.5 * trained.metrics["loss_first"]


def test_halo_refuses_what_reads_the_weight_itself() -> None:
    with pytest.raises(
        ValueError, match="quantize: halo computes products of its own, and adapter kind 'dora'"
    ):
        SupervisedFineTuning.model_validate(
            {"model": "base", "quantize": "halo", "adapter": {"kind": "dora"}}
        )
