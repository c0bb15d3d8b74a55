"""Stochastic rounding: always to a neighbor, unbiased, and exact for values that bfloat16 can represent."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gristmill.kernels.rounding import round_by, stochastic_round


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 2**16 - 1))
def test_is_one_of_the_two_neighbors(value: float, noise: int) -> None:
    exact = torch.tensor([value])
    low = (exact.view(torch.int32) & -65536).view(torch.float32)
    high = ((low.view(torch.int32)) + 65536).view(torch.float32)
    found = round_by(exact, torch.tensor([noise], dtype=torch.int32)).float()
    assert found in (low, high)


@pytest.mark.parametrize("value", [1.0 + 2**-10, -3.14159, 1e-20, -7e30, 1e-40])
def test_the_odds_are_those_of_the_distance(value: float) -> None:
    """Over all possible noise values, the mean equals the value exactly."""
    exact = torch.full((1 << 16,), value)
    found = round_by(exact, torch.arange(1 << 16, dtype=torch.int32))
    assert found.double().mean().item() == pytest.approx(exact[0].item(), rel=1e-12)


@pytest.mark.usefixtures("form")
def test_the_mean_over_a_generator_is_the_value(device: torch.device) -> None:
    """Many draws in one call: one row per value."""
    values = torch.randn(8, 1, generator=torch.Generator().manual_seed(0)).expand(8, 4000).to(device)
    found = stochastic_round(values, torch.Generator(device).manual_seed(1)).double()
    spacing = values.abs() * 2**-7
    assert ((found - values).abs() <= spacing).all()
    assert ((found.mean(1) - values[:, 0]).abs() <= 5 * spacing[:, 0] / math.sqrt(4000)).all()
    assert (found.std(1) > 0).all()


def test_small_updates_survive_on_average() -> None:
    """1000 updates of an eighth of half the spacing are lost by rounding to nearest, but add up here."""
    nearest = kept = torch.ones(256, dtype=torch.bfloat16)
    generator = torch.Generator().manual_seed(0)
    for _ in range(1000):
        nearest = (nearest.float() + 2**-11).bfloat16()
        kept = stochastic_round(kept.float() + 2**-11, generator)
    assert (nearest == 1).all()
    assert kept.float().mean().item() == pytest.approx(1 + 1000 * 2**-11, rel=0.01)


@pytest.mark.usefixtures("form")
def test_keeps_bfloat16_values_infinities_and_nan(device: torch.device) -> None:
    held = torch.cat([torch.randn(50).bfloat16().float(), torch.tensor([0.0, -0.0, math.inf, -math.inf])])
    held = held.to(device)
    found = stochastic_round(held, torch.Generator(device).manual_seed(0)).float()
    assert torch.equal(found.view(torch.int32), held.view(torch.int32))
    nan = torch.tensor([math.nan], device=device)
    assert stochastic_round(nan, torch.Generator(device)).isnan().all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (1025,)])
def test_shapes_views_and_the_seed(shape: tuple[int, ...], device: torch.device) -> None:
    values = torch.randn(*shape, 2).transpose(0, -1).to(device)
    first, again = (stochastic_round(values, torch.Generator(device).manual_seed(3)) for _ in range(2))
    assert first.shape == values.shape
    assert torch.equal(first, again)
    assert ((first.double() - values).abs() <= values.abs() * 2**-7).all()


def test_refuses_another_dtype() -> None:
    with pytest.raises(ValueError, match="needs float32 values"):
        stochastic_round(torch.ones(1, dtype=torch.float64), torch.Generator())
