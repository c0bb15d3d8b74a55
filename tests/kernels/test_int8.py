"""INT8: nearest multiples of the row's scale, and bitwise equality of both forms in both directions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels import dispatch, int8


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30)
@given(
    st.integers(0, 9), st.integers(0, 90), st.integers(0, 2**31), st.sampled_from([1e-38, 1e-3, 1.0, 1e30])
)
def test_each_weight_is_within_half_a_scale(rows: int, size: int, seed: int, scale: float) -> None:
    weight = _random(rows, size, seed=seed) * scale
    found = int8.quantize(weight)
    assert found.shape == weight.shape
    error = (int8.dequantize(found).double() - weight.double()).abs()
    # A subnormal scale is rounded itself, which adds up to 127 times half of the smallest subnormal.
    assert (error <= found.scales.double()[:, None] * (0.5 + 1e-4) + 1e-43).all()


def test_rows_have_their_own_scale_and_ends_are_exact() -> None:
    weight = torch.tensor([[127.0, -63.0, 0.4, 0.6], [0.0, 0.0, 0.0, 0.0], [-2.54, 1.27, 0.0, 0.01]])
    found = int8.quantize(weight)
    assert found.codes[0].tolist() == [127, -63, 0, 1]
    assert found.codes[1].tolist() == [0, 0, 0, 0]
    assert found.codes[2, 0] == -127
    torch.testing.assert_close(found.scales, torch.tensor([1.0, 0.0, 0.02]))


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (3, 5), (2, 2049), (7, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_forms_decode_to_the_same_bits(
    shape: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> None:
    found = int8.quantize(_random(*shape).to(device))
    with dispatch.use("plain"):
        plain = int8.dequantize(found, dtype)
    with dispatch.use("triton"):
        assert torch.equal(int8.dequantize(found, dtype), plain)
    assert plain.dtype == dtype
    assert plain.shape == shape


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (1, 1), (3, 5), (2, 2049), (7, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-42, 1.0, 1e30])
def test_both_forms_find_the_same_codes(
    shape: tuple[int, int], dtype: torch.dtype, scale: float, device: torch.device
) -> None:
    weight = (_random(*shape, seed=1) * scale).to(dtype).to(device)
    weight[:1] = 0.0
    found = {}
    for form in ("plain", "triton"):
        with dispatch.use(form):
            found[form] = int8.quantize(weight)
    assert torch.equal(found["plain"].codes, found["triton"].codes)
    assert torch.equal(found["plain"].scales, found["triton"].scales)


def test_ties_go_to_the_even_code(device: torch.device) -> None:
    weight = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]], device=device)
    for form in ("plain", "triton"):
        with dispatch.use(form):
            assert int8.quantize(weight).codes.tolist() == [[127, 0, 2, 2, 0, -2, -2]]


@pytest.mark.usefixtures("form")
def test_reads_views(device: torch.device) -> None:
    weight = _random(12, 10).T[::2].to(device)
    found = int8.quantize(weight)
    turned = int8.INT8Tensor(found.codes.T.contiguous().T, found.scales)
    assert torch.equal(int8.dequantize(turned), int8.dequantize(found))
    assert (int8.dequantize(found) - weight).abs().max() <= found.scales.max() / 2 * 1.001


def test_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="matrix"):
        int8.quantize(torch.ones(3))
    with pytest.raises(ValueError, match="NaN or infinite"):
        int8.quantize(torch.tensor([[1.0, float("inf")]]))


def test_takes_a_byte_a_weight() -> None:
    assert int8.quantize(_random(8, 100)).nbytes == 800 + 32
    assert int8.cost(8, 100, 2).moved == 832 + 1600
    assert int8.quantize_cost(8, 100, 2).moved == 832 + 1600
