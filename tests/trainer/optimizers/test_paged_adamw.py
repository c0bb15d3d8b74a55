"""Paged AdamW: the update of AdamW by bitsandbytes' operation, and one clear error where there is no GPU.

Its managed memory needs a GPU; here the states are plain tensors, over which the same operation runs.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from gristmill.contracts.errors import ModelError
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.forecast.step_plan import plan_step, trained_weights
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.optimizers.adamw import AdamW
from gristmill.trainer.optimizers.paged_adamw import PagedAdamW


class _Plain(PagedAdamW):
    @staticmethod
    def paged(parameter: Tensor) -> Tensor:
        return torch.zeros_like(parameter)


def test_the_update_is_that_of_adamw_and_goes_on_after_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._dynamo.config, "disable", True)  # the operation on a CPU is compiled
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(5, 7, generator=generator)
    gradients = [torch.randn(5, 7, generator=generator) for _ in range(4)]
    found = {}
    for kind in (AdamW, _Plain):
        owned = nn.Parameter(start.clone())

        def made(kind: type[AdamW] = kind, owned: nn.Parameter = owned) -> AdamW:
            return kind([{"params": [owned], "rate": 2.0}], betas=(0.8, 0.99), weight_decay=0.1)

        optimizer = made()
        for number, gradient in enumerate(gradients):
            owned.grad = gradient.clone()
            optimizer.step(0.01)
            if number == 1:
                saved, optimizer = optimizer.state(), made()
                held = dict(optimizer.states[owned])
                optimizer.load(saved)
                assert all(optimizer.states[owned][name] is tensor for name, tensor in held.items())
        found[kind] = owned.detach()
        assert kind.state_size((5, 7)) == (8 * 35 if kind is AdamW else 0)  # in the GPU's memory
    torch.testing.assert_close(found[_Plain], found[AdamW], atol=1e-6, rtol=1e-5)
    assert (found[AdamW] - start).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["lisa", "half", "lift"])
def test_a_policy_that_changes_or_drops_its_states_is_refused(kind: str) -> None:
    given = {
        "model": "base",
        "optimizer": "paged_adamw",
        "sparse": {"kind": kind},
        "adapter": {"kind": "delta"},
    }
    with pytest.raises(
        ValueError, match=f"memory that is not freed .* sparse '{kind}' .*: remove sparse, or"
    ):
        SupervisedFineTuning.model_validate(given)


def test_the_plan_counts_no_states_on_the_gpu(make_model) -> None:
    config = ModelConfig.read(make_model())
    examples = [Example("a", (TokenSequence((1,) * 9, (True,) * 9),))]
    steps = [SupervisedFineTuning(model="base", optimizer=name) for name in ("adamw", "paged_adamw")]
    plain, paged = (
        plan_step(step, config, torch.device("cuda"), False, examples, [[[0]]], 0, 0).total for step in steps
    )
    assert plain - paged == 8 * trained_weights(steps[0], config)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_one_error_before_the_model_is_loaded(
    make_model, rows, stopping, tmp_path: Path
) -> None:
    told = "pages its states between a CUDA GPU and the host.*: give optimizer: adamw, or adamw8bit"
    with pytest.raises(ValueError, match=told):
        SupervisedFineTuning(model="base", optimizer="paged_adamw", device="cpu")
    step = SupervisedFineTuning(model="base", optimizer="paged_adamw", max_length=128)
    context = stopping(tmp_path / "w", make_model())
    with pytest.raises(ModelError, match=told):
        step.fit(pa.Table.from_pylist(rows[:3]), context)
    assert not context.told, "nothing was begun"
