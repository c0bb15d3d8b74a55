"""GaLore: AdamW in the space of the gradient's leading singular vectors, with moments of that size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from gristmill.trainer.forecast.step_plan import state_bytes
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.optimizers.adamw import AdamW
from gristmill.trainer.optimizers.galore import GaLore


def _gradient(step: int, shape: tuple[int, int]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_the_update_is_adamw_of_the_projected_gradient(shape: tuple[int, int]) -> None:
    """The projection is that of every third gradient; moments are kept when it changes."""
    rank, scale, rate, decay = 2, 0.5, 0.1, 0.2
    parameter = nn.Parameter(torch.ones(shape, dtype=torch.float64))
    optimizer = GaLore(
        [{"params": [parameter], "rate": 1.0}], rank=rank, every=3, scale=scale, weight_decay=decay
    )
    weight, wide = parameter.detach().clone(), shape[0] < shape[1]
    first = second = 0.0
    for step in range(7):
        gradient = _gradient(step, shape)
        parameter.grad = gradient.clone()
        optimizer.step(rate)
        if step % 3 == 0:
            u, _, v = torch.linalg.svd(gradient)
            projector = u[:, :rank] @ u[:, :rank].T if wide else v[:rank].T @ v[:rank]
            basis = u[:, :rank] if wide else v[:rank].T
        low = basis.T @ gradient if wide else gradient @ basis
        first, second = 0.9 * first + 0.1 * low, 0.999 * second + 0.001 * low**2
        direction = first / (1 - 0.9 ** (step + 1)) / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        change = basis @ direction if wide else direction @ basis.T
        weight = (1 - rate * decay) * weight - rate * scale * change
        torch.testing.assert_close(parameter.detach(), weight, atol=1e-9, rtol=1e-9)
        inside = projector @ change if wide else change @ projector
        torch.testing.assert_close(inside, change, atol=1e-9, rtol=1e-9)


def test_the_state_has_the_size_of_the_low_rank_and_small_matrices_are_adamws() -> None:
    big, small, vector = (nn.Parameter(torch.zeros(shape)) for shape in [(40, 30), (4, 30), (7,)])
    optimizer = GaLore([{"params": [big, small, vector], "rate": 1.0}], rank=4)
    numbers = {
        parameter: sum(each.numel() for each in optimizer.states[parameter].values()) - 1
        for parameter in (big, small, vector)
    }
    assert list(numbers.values()) == [2 * 4 * 40 + 30 * 4, 2 * 4 * 30, 2 * 7]
    assert GaLore.state_size((40, 30), rank=4) == 4 * numbers[big]
    assert GaLore.state_size((4, 30), rank=4) == 4 * numbers[small]
    plain = nn.Parameter(torch.zeros(4, 30))
    adamw = AdamW([{"params": [plain], "rate": 1.0}])
    small.grad = plain.grad = _gradient(1, (4, 30)).float()
    optimizer.step(0.1)
    adamw.step(0.1)
    assert torch.equal(small, plain)


def test_the_plan_counts_its_state(make_model: Any) -> None:
    config = ModelConfig.read(make_model())
    given = {"model": "base", "adapter": {"kind": "delta"}, "optimizer": "galore", "galore": {"rank": 2}}
    few = state_bytes(SupervisedFineTuning.model_validate(given), config)
    more = state_bytes(SupervisedFineTuning.model_validate({**given, "galore": {"rank": 8}}), config)
    assert few * 4 == pytest.approx(more)
    plain = SupervisedFineTuning.model_validate({"model": "base"})
    assert state_bytes(plain, config) == 8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "galore"}, "is for the weights themselves"),
        ({"galore": {"rank": 4}}, "has the options of optimizer: galore"),
        (
            {"optimizer": "galore", "adapter": {"kind": "delta"}, "sparse": {}},
            "'selekt' works on single weights",
        ),
        ({"optimizer": "galore", "adapter": {"kind": "delta"}, "shard": True}, "decomposes whole gradients"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SupervisedFineTuning.model_validate({"model": "base", **given})
