"""INT2 in groups: packing, the gain of narrower ranges, sizes, and refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gristmill.kernels import int2
from gristmill.kernels.grouped import GROUP


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_packs_the_first_weight_into_the_highest_bits() -> None:
    found = int2.quantize(torch.arange(4.0).repeat(16))
    assert (found.scales.tolist(), found.zeros.tolist()) == ([1.0], [0.0])
    assert found.packed.tolist() == [0b00011011] * 16
    assert torch.equal(int2.dequantize(found), torch.arange(4.0).repeat(16))


@settings(max_examples=30)
@given(st.integers(1, 400), st.integers(0, 2**31), st.sampled_from([1e-20, 1e-2, 1e20]))
def test_codes_go_through_packing_and_the_size_is_exact(count: int, seed: int, scale: float) -> None:
    found = int2.quantize(_random(count, seed=seed) * scale)
    codes = found.codes()
    assert codes.shape == (count,)
    assert torch.equal(found.pack(codes), found.packed)
    assert found.nbytes == -(-count // 4) + 4 * -(-count // GROUP)
    assert torch.isfinite(int2.dequantize(found)).all()


def test_narrower_ranges_lessen_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = _random(256, 256)
    searched = (int2.dequantize(int2.quantize(weight)) - weight).square().mean()
    monkeypatch.setattr(int2, "SHRINK", (1.0,))
    whole = (int2.dequantize(int2.quantize(weight)) - weight).square().mean()
    assert searched < 0.6 * whole


def test_what_cannot_be_quantized_is_refused() -> None:
    with pytest.raises(ValueError, match="give a power of two of at least 4"):
        int2.quantize(torch.ones(8), group=2)
    with pytest.raises(ValueError, match="NaN or infinite values to INT2"):
        int2.quantize(torch.tensor([1.0, float("nan")]))
