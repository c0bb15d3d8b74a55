"""A training that goes on uses the factors that its initialization found at first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from gristmill.contracts.errors import StoreError
from gristmill.contracts.training import Trained
from gristmill.trainer.adapters import lora_ga
from gristmill.trainer.adapters.adapter_table import INITS
from gristmill.trainer.adapters.initialization import Factors
from gristmill.trainer.initial_factors import InitialFactors
from gristmill.trainer.methods.sft import SupervisedFineTuning

LORA: dict[str, Any] = {"rank": 4, "alpha": 8}
METHODS: dict[str, dict[str, Any]] = {
    "eva": {"adapter": {**LORA, "init": "eva"}},
    "corda": {"adapter": {**LORA, "init": "corda"}},
    "lora_ga": {"adapter": {**LORA, "init": "lora_ga"}},
    "quailora": {"adapter": {**LORA, "init": "quailora"}, "quantize": "nf4"},
    "lq_lora": {"adapter": {**LORA, "init": "lq_lora", "loftq_turns": 2}, "quantize": "nf4"},
    "owq": {"adapter": {"kind": "weak_columns", "init": "owq", "rank": 4}, "quantize": "int4"},
    "qeft": {"adapter": {"kind": "weak_columns", "init": "qeft", "rank": 4}, "quantize": "int4"},
    "welore": {"adapter": {"kind": "welore", "init": "welore", "welore_keep": 0.3}},
}
Fit = Callable[..., Trained]


@pytest.fixture
def fit(make_model, rows, stopping, tmp_path: Path) -> Fit:
    """Train on ten rows in a directory of ``tmp_path``; ``stop_at``: number of steps to stop after."""
    path, table = make_model(hidden_size=64, intermediate_size=128), pa.Table.from_pylist(rows[:10])

    def run(method: str, name: str, stop_at: int | None = None) -> Trained:
        shape = {"batch_tokens": 150, "max_length": 128, "pack_tokens": 128, "learning_rate": 1e-2}
        settings = {"model": "base", "dtype": "fp32", "quantize": "none", **shape, **METHODS[method]}
        step = SupervisedFineTuning.model_validate(settings)
        return step.fit(table, stopping(tmp_path / name, path, stop_at=stop_at))

    return run


def test_all_initializations_that_find_factors_are_here() -> None:
    assert {name for name, init in INITS.items() if init.finds} == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_factors_are_found_once(
    method: str, fit: Fit, digest, stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(method, "whole")
    with pytest.raises(stopped):
        fit(method, "part", stop_at=2)

    def start(*arguments: object) -> None:
        raise AssertionError("the factors are looked for again")

    monkeypatch.setattr(INITS[method], "start", start)
    assert digest(fit(method, "part")) == digest(whole)


def test_lora_ga_goes_on_where_vectors_have_the_other_sign(
    fit: Fit, digest, stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit("lora_ga", "whole")
    with pytest.raises(stopped):
        fit("lora_ga", "part", stop_at=2)
    plain = lora_ga.aligned

    def other(*arguments: Any) -> tuple[Tensor, Tensor]:
        a, b = plain(*arguments)
        return -a, b

    monkeypatch.setattr(lora_ga, "aligned", other)
    assert digest(fit("lora_ga", "part")) == digest(whole)


def test_factors_of_another_training_are_refused(tmp_path: Path) -> None:
    one = InitialFactors(tmp_path / "initial_factors.pt", "one")
    assert one.read(torch.device("cpu")) is None
    one.write({"layer": Factors(torch.ones(2, 3), torch.ones(4, 2), changed=True)})
    found = one.read(torch.device("cpu"))
    assert found is not None
    assert torch.equal(found["layer"].a, torch.ones(2, 3))
    assert found["layer"].changed
    with pytest.raises(StoreError, match="written by another training"):
        InitialFactors(one.path, "two").read(torch.device("cpu"))
