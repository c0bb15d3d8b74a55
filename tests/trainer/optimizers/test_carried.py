"""The optimizer's state next to an adapter, for a training that continues from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gristmill.contracts.errors import StoreError
from gristmill.trainer.optimizers.adamw import AdamW
from gristmill.trainer.optimizers.carried import continue_optimizer, save_optimizer
from gristmill.trainer.optimizers.lion import Lion
from gristmill.trainer.optimizers.optimizer import Optimizer


def _model(first: str, second: str) -> nn.ModuleDict:
    return nn.ModuleDict({first: nn.Linear(3, 3, bias=False), second: nn.Linear(3, 3, bias=False)})


def _optimizer(model: nn.Module, kind: type[Optimizer] = AdamW) -> Optimizer:
    return kind([{"params": list(model.parameters()), "rate": 1.0}])


def test_the_state_goes_on_with_the_parameters_of_the_same_names(tmp_path: Path) -> None:
    model = _model("query", "value")
    optimizer = _optimizer(model)
    for parameter in optimizer.parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.1)
    save_optimizer(optimizer, model, tmp_path)
    again = _model("query", "value")
    other = _optimizer(again)
    assert continue_optimizer(other, again, tmp_path)
    for one, two in zip(optimizer.states.values(), other.states.values()):
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert not continue_optimizer(other, again, None)
    assert not continue_optimizer(other, again, tmp_path / "nothing")


def test_a_state_of_other_parameters_of_the_same_shapes_is_refused(tmp_path: Path) -> None:
    model = _model("query", "value")
    save_optimizer(_optimizer(model), model, tmp_path)
    other = _model("query", "key")
    with pytest.raises(StoreError, match="was written by another training"):
        continue_optimizer(_optimizer(other), other, tmp_path)
    with pytest.raises(StoreError, match="was written by another training"):
        continue_optimizer(_optimizer(model, Lion), model, tmp_path)
