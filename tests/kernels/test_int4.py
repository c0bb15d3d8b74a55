"""INT4 in groups: gain of the search for zero points, codes and packing, and decoding in both forms."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gristmill.kernels import dispatch, int4, nf4
from gristmill.kernels.grouped import GROUP


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_packs_the_first_weight_into_the_high_nibble() -> None:
    found = int4.quantize(torch.arange(16.0).repeat(4), rounds=0)
    assert found.scales.tolist() == [1.0]
    assert found.zeros.tolist() == [0.0]
    assert found.packed[:8].tolist() == [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF]
    assert torch.equal(int4.dequantize(found), torch.arange(16.0).repeat(4))


@settings(max_examples=30)
@given(st.integers(0, 400), st.integers(0, 2**31), st.sampled_from([1e-20, 1e-2, 1e20]), st.floats(-3, 3))
def test_without_a_search_each_weight_is_within_half_a_scale(
    count: int, seed: int, scale: float, shift: float
) -> None:
    """The tolerance is half a scale, plus the clipping due to the rounding of the scale to 8 bits."""
    weight = (_random(count, seed=seed) + shift) * scale
    found = int4.quantize(weight, rounds=0)
    scales = found.scales.double().repeat_interleave(found.group)[:count]
    error = (int4.dequantize(found).double() - weight.double()).abs()
    assert (error <= scales * (0.5 + 15 / 256 + 0.01)).all()


@pytest.mark.parametrize("outliers", [False, True])
def test_the_search_lessens_the_error_it_is_for(outliers: bool) -> None:
    weight = _random(256, 256)
    if outliers:
        weight[::17, ::13] *= 6
    plain, searched = (int4.dequantize(int4.quantize(weight, rounds=rounds)) for rounds in (0, int4.ROUNDS))
    size = [(found - weight).abs().pow(int4.NORM).mean() for found in (searched, plain)]
    assert size[0] < 0.99 * size[1]


def test_error_on_normal_weights_is_near_that_of_nf4() -> None:
    """Compare INT4 (scale and zero point per group of 64) with NF4 (scale only, levels of a normal)."""
    weight = _random(512, 512)
    ours = (int4.dequantize(int4.quantize(weight)) - weight).abs().mean().item()
    theirs = (nf4.dequantize(nf4.quantize(weight)) - weight).abs().mean().item()
    assert 0.9 * theirs < ours < 1.15 * theirs


def test_no_group_gets_worse_by_searching() -> None:
    weight = _random(64, 64, seed=3).pow(3)
    sizes = []
    for rounds in (0, 1, 5, 20):
        error = int4.dequantize(int4.quantize(weight, rounds=rounds)) - weight
        sizes.append(error.abs().pow(int4.NORM).view(-1, GROUP).mean(1))
    for fewer, more in itertools.pairwise(sizes):
        # A zero point is rounded to 11 bits after the search.
        assert (more <= fewer * 1.05).all()


@pytest.mark.parametrize("shape", [(0,), (1,), (2,), (63,), (65,), (3, 5, 7), (33, 64), (2, 2049)])
@pytest.mark.parametrize("group", [2, 64, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_forms_decode_to_the_same_bits(
    shape: tuple[int, ...], group: int, dtype: torch.dtype, device: torch.device
) -> None:
    found = int4.quantize(_random(*shape).to(device), group=group, rounds=1)
    with dispatch.use("plain"):
        plain = int4.dequantize(found, dtype)
    with dispatch.use("triton"):
        assert torch.equal(int4.dequantize(found, dtype), plain)
    assert plain.dtype == dtype
    assert plain.shape == shape


@pytest.mark.parametrize("shape", [(0,), (1,), (2,), (65,), (3, 5, 7), (33, 64), (2, 2049)])
@pytest.mark.parametrize("group", [2, 64, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_a_search_both_forms_find_the_same_codes(
    shape: tuple[int, ...], group: int, dtype: torch.dtype, device: torch.device
) -> None:
    weight = _random(*shape, seed=2).to(dtype).to(device)
    found = {}
    for form in ("plain", "triton"):
        with dispatch.use(form):
            found[form] = int4.quantize(weight, group=group, rounds=0)
    for part in ("packed", "scales", "zeros"):
        assert torch.equal(getattr(found["plain"], part), getattr(found["triton"], part)), part


def test_both_forms_search_equally_well(device: torch.device) -> None:
    """Powers round differently in the two forms, so zero points may differ, but their errors may not."""
    weight = _random(96, 64, seed=4).pow(3).to(device)
    weight[0], weight[1] = 0.0, 1.0
    sizes = {}
    for form in ("plain", "triton"):
        with dispatch.use(form):
            error = int4.dequantize(int4.quantize(weight)) - weight
        sizes[form] = error.abs().pow(int4.NORM).view(-1, GROUP).mean(1)
    assert (sizes["triton"] <= 1.05 * sizes["plain"] + 1e-6).all()
    assert sizes["triton"].mean() <= 1.002 * sizes["plain"].mean()


def test_parts_of_a_large_weight_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = _random(3, 1000, seed=5)
    whole = int4.quantize(weight)
    monkeypatch.setattr(int4, "PART", 100)
    parts = int4.quantize(weight)
    assert torch.equal(whole.packed, parts.packed)
    assert torch.equal(whole.zeros, parts.zeros)


def test_reads_a_view_in_its_own_order() -> None:
    weight = _random(64, 96).T
    assert torch.equal(int4.quantize(weight).packed, int4.quantize(weight.contiguous()).packed)


def test_zeros_stay_zeros() -> None:
    assert torch.equal(int4.dequantize(int4.quantize(torch.zeros(100))), torch.zeros(100))


def test_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="power of two"):
        int4.quantize(torch.ones(3), group=48)
    with pytest.raises(ValueError, match="NaN or infinite"):
        int4.quantize(torch.tensor([1.0, float("nan")]))


def test_takes_0_5625_bytes_a_weight() -> None:
    assert int4.quantize(torch.ones(4096), rounds=0).nbytes == 0.5625 * 4096
    assert int4.cost(4096, 2).moved == 0.5625 * 4096 + 2 * 4096
    assert int4.quantize_cost(4096, 2).moved == 0.5625 * 4096 + 2 * 4096
