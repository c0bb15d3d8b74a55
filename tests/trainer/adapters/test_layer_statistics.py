"""Statistics of layers: the covariance of their inputs, and the gradient that a trained weight would get."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gristmill.trainer.adapters.layer_statistics import (
    damped,
    in_groups,
    input_covariances,
    weight_gradients,
)
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.losses.objective import StepContext
from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.loading import load_model


def _packs() -> list[Pack]:
    generator = torch.Generator().manual_seed(5)
    packs = []
    for _ in range(2):
        ids = torch.randint(0, 300, (12,), generator=generator).tolist()
        sequence = TokenSequence(tuple(ids), (False, *[True] * 11))
        packs.append(Pack.of([Example("row", (sequence,))], torch.device("cpu")))
    return packs


def _loss(model: Decoder, pack: Pack) -> Tensor:
    return TokenObjective(cross_entropy).loss(model, pack, StepContext(11.0, 0.0)).loss


def test_the_gradients_are_those_of_trained_weights(make_model) -> None:
    model = load_model(make_model(), dtype=torch.float64)
    linears = dict(model.linears())
    found = weight_gradients(model, linears, _packs(), _loss)
    squared = weight_gradients(model, linears, _packs(), _loss, squared=True)
    assert set(found) == set(linears)
    for linear in linears.values():
        linear.base.requires_grad_(True)
        linear.forward = lambda x, linear=linear: x @ linear.base.T  # type: ignore[method-assign]
    parts = [
        torch.autograd.grad(_loss(model, pack), [linear.base for linear in linears.values()])
        for pack in _packs()
    ]
    for name, one, other in zip(linears, *parts):
        torch.testing.assert_close(found[name].double(), one + other, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(squared[name].double(), one**2 + other**2, atol=1e-9, rtol=1e-4)


def test_the_covariances_are_those_of_all_inputs(make_model) -> None:
    model = load_model(make_model(), dtype=torch.float64)
    linears = dict(model.linears())
    inputs: dict[str, list[Tensor]] = {}
    for name, linear in linears.items():
        linear.register_forward_pre_hook(
            lambda _, seen, name=name: inputs.setdefault(name, []).append(seen[0])
        )
    found = input_covariances(model, linears, _packs())
    for name in linears:
        x = torch.cat(inputs[name])
        assert len(x) == 24
        torch.testing.assert_close(found[name].double(), x.T @ x / 24, atol=1e-5, rtol=1e-4)


def test_groups_hold_at_most_so_many_values_or_one_layer(make_model) -> None:
    linears = dict(load_model(make_model(), dtype=torch.float32).linears())
    sizes = [linear.base.numel() for linear in linears.values()]
    most = 2 * max(sizes)
    groups = list(in_groups(linears, lambda shape: shape[0] * shape[1], most))
    assert [name for group in groups for name in group] == list(linears)
    assert len(groups) > 1
    assert all(sum(linear.base.numel() for linear in group.values()) <= most for group in groups)
    assert len(list(in_groups(linears, lambda shape: 10, 1))) == len(linears)


def test_damping_makes_a_covariance_of_few_tokens_invertible() -> None:
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    covariance = x.T @ x
    assert torch.linalg.eigvalsh(damped(covariance)).min() == pytest.approx(
        0.01 * covariance.diagonal().mean().item(), rel=1e-6
    )
