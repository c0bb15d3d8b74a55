"""NF4: known codes, the published error, and exact round trips."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels import dispatch, nf4


def test_packs_the_first_weight_into_the_high_nibble() -> None:
    weight = torch.tensor([-1.0, 1.0, 0.0, 0.44])
    packed = nf4.quantize(weight, nested=False)
    assert packed.packed.tolist() == [0x0F, 0x7C]
    assert packed.scales.tolist() == [1.0]


def test_a_value_on_the_border_takes_the_lower_code() -> None:
    border = (nf4.CODEBOOK[8] + torch.tensor(nf4.CODEBOOK)[7]) / 2
    weight = torch.stack(
        [border, torch.nextafter(border, torch.tensor(1.0)), torch.tensor(1.0), torch.tensor(0.0)]
    )
    assert nf4.quantize(weight, nested=False).packed.tolist() == [0x78, 0xF7]


def test_decodes_every_byte() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    found = nf4.dequantize(nf4.NF4Tensor(every, torch.full((8,), 3.0), (512,)))
    codes = torch.tensor(nf4.CODEBOOK)
    assert torch.equal(found.view(-1, 2)[:, 0], codes[every.int() >> 4] * 3.0)
    assert torch.equal(found.view(-1, 2)[:, 1], codes[every.int() & 15] * 3.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 700), st.integers(0, 2**31), st.booleans())
def test_each_weight_becomes_its_nearest_code(count: int, seed: int, zeros: bool) -> None:
    weight = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    if zeros:
        weight[: nf4.BLOCK] = 0.0
    found = nf4.dequantize(nf4.quantize(weight, nested=False))
    codes = torch.tensor(nf4.CODEBOOK)
    for start in range(0, count, nf4.BLOCK):
        block, given_back = weight[start : start + nf4.BLOCK], found[start : start + nf4.BLOCK]
        choices = codes * block.abs().max()
        best = (block[:, None] - choices).abs().amin(dim=1)
        torch.testing.assert_close((block - given_back).abs(), best, atol=1e-6, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 700), st.integers(0, 2**31))
def test_quantizing_what_was_quantized_changes_nothing(count: int, seed: int) -> None:
    once = nf4.dequantize(
        nf4.quantize(torch.randn(count, generator=torch.Generator().manual_seed(seed)), nested=False)
    )
    assert torch.equal(nf4.dequantize(nf4.quantize(once, nested=False)), once)


@pytest.mark.parametrize("nested", [False, True])
def test_error_on_normal_weights_is_the_published_one(nested: bool) -> None:
    """bitsandbytes states a mean absolute error of 0.0728 for N(0, 1) in blocks of 64."""
    weight = torch.randn(2048, 1024, generator=torch.Generator().manual_seed(0))
    error = (nf4.dequantize(nf4.quantize(weight, nested=nested)) - weight).abs().mean().item()
    assert error == pytest.approx(0.0728, abs=5e-4)


def test_rounds_once_to_the_asked_dtype() -> None:
    weight = nf4.quantize(torch.randn(96, 64, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(nf4.dequantize(weight, torch.bfloat16), nf4.dequantize(weight).bfloat16())
    assert nf4.dequantize(weight, torch.bfloat16).shape == (96, 64)


def test_double_quantization_takes_0_516_bytes_a_weight() -> None:
    weight = torch.randn(1024, 1024)
    assert nf4.quantize(weight).nbytes == pytest.approx(0.516 * weight.numel(), rel=1e-3)
    assert nf4.quantize(weight, nested=False).nbytes == 0.5625 * weight.numel()


def test_a_transposed_view_is_read_in_its_own_order() -> None:
    weight = torch.randn(64, 96).T
    assert torch.equal(nf4.quantize(weight).packed, nf4.quantize(weight.contiguous()).packed)


def test_refuses_weights_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        nf4.quantize(torch.tensor([1.0, float("nan")]))
    with pytest.raises(ValueError, match="power of two"):
        nf4.quantize(torch.ones(3), block=48)


SHAPES = [(0,), (1,), (2,), (63,), (64,), (65,), (3, 5, 7), (33, 64), (2, 2049), (5, 7000)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_forms_decode_to_the_same_bits(
    shape: tuple[int, ...], nested: bool, dtype: torch.dtype, device: torch.device
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    found = nf4.quantize(weight, nested=nested)
    with dispatch.use("plain"):
        plain = nf4.dequantize(found, dtype)
    with dispatch.use("triton"):
        assert torch.equal(nf4.dequantize(found, dtype), plain)
    assert plain.shape == shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", [2, 64, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_forms_encode_to_the_same_bits(
    shape: tuple[int, ...], block: int, dtype: torch.dtype, device: torch.device
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))[
        ..., : 300 if block == 2 else None
    ]
    weight = weight.contiguous().to(dtype)
    weight.view(-1)[:5] = 0.0
    found = {}
    for form in ("plain", "triton"):
        with dispatch.use(form):
            found[form] = nf4.quantize(weight.to(device), block=block, nested=False)
    assert torch.equal(found["plain"].packed, found["triton"].packed)
    assert torch.equal(found["plain"].scales, found["triton"].scales)


def test_cost_is_2_516_bytes_a_weight() -> None:
    """Decoding to bfloat16 reads 0.5 + 1/64 + 4/(64*256) bytes and writes 2; float32 scales read 0.5625."""
    assert nf4.cost(1 << 20, 2).moved == pytest.approx(2.5159 * (1 << 20), rel=1e-4)
    assert nf4.cost(1 << 20, 2, nested=False).moved == 2.5625 * (1 << 20)
